"""A local page to drop RAW files on, and the same for programs: `lwisp serve`."""
