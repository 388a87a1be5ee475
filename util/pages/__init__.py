"""Pages that open from the file system."""
