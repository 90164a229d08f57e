"""One module per command: ``main(argv) -> exit code``. Modules import their heavy parts inside ``main``."""
