"""What knows nothing of SAM or of studies: errors, files, documents, arrays, downloads."""
