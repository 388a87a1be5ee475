"""Files that Python never reads, because a package here has their name: ``models/networks.py`` of a fork."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
ADVICE = {
    "models/networks.py": "call it models/NAME_networks.py, and write `from models import NAME_networks as networks` "
    "where its names are meant"
}


def shadowed_files(root: Path = ROOT) -> list[str]:
    """One sentence for each: what is used in its place, and how to name it."""
    packages = sorted(init.parent for init in [*root.glob("*/__init__.py"), *root.glob("*/*/__init__.py")])
    files = [package.with_suffix(".py").relative_to(root).as_posix() for package in packages]
    return [
        f"{file} is not read: the package {file.removesuffix('.py')}/ has its name; "
        f"{ADVICE.get(file, 'call it otherwise and import it by that name')}"
        for file in files
        if (root / file).is_file()
    ]
