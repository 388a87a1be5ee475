import os

# Read when torch is imported: what that torch lacks on Apple's devices runs on the CPU, which it says.
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
