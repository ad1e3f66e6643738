"""Keeping a workspace sound: check, repair, back up, clean up, take over."""
