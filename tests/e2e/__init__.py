"""The whole stack in the real Lambda runtime emulator."""
