"""Process 1 of a sandbox: frames in, frames out, and everything between them. Standard library only."""
