"""Live recognition: a core without I/O, and a live stream for threads and one for asyncio."""
