"""The experiments: thin binaries over the library."""
