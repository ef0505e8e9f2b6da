"""What transformers has and we do not have yet. This is the only list of it, and tests fail where it is not
true: whoever adds an architecture, a head or a call takes its names out."""

#: Classes of the fixtures that the package does not have.
CLASSES: set[str] = set()

#: Calls that fail though the class is there: the class and the case.
CALLS: set[tuple[str, str]] = set()
