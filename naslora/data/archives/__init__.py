"""Archives of images: finding, downloading, verifying, pinning and unpacking them."""
