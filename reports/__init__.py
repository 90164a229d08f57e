"""Charts, pages, tables and the command line. Nothing here computes a statistic of its own."""
