"""What a binary needs: settings as flags, paths, progress."""
