"""The only code that touches SQL, the disk of the workspace and the real clock."""
