"""Errors, files, documents, arrays, downloads and locks, independent of SAM and of studies."""
