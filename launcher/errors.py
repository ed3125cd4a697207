"""What ends the launcher before its time: one line for the person who started it."""

EXIT_FAILED = 1  # something did not work
EXIT_USAGE = 2  # something was asked for that cannot be


class LaunchError(Exception):
    """The text is one line; `code` is the exit code."""

    def __init__(self, text: str, *, code: int = EXIT_FAILED) -> None:
        self.code = code
        super().__init__(text)


class UsageError(LaunchError):
    """A variable or an option that cannot be used as it is."""

    def __init__(self, text: str) -> None:
        super().__init__(text, code=EXIT_USAGE)
