"""Archives of images: found, fetched, verified, pinned and unpacked."""
