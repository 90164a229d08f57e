"""Self-contained HTML pages: they work offline, run under a strict content-security policy and print."""
