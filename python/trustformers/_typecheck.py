"""Run-time checks of arguments and results, for who asks for them with ``TRUSTFORMERS_TYPECHECK=1``."""

from __future__ import annotations


def install() -> None:
    """Check every function of the package that is loaded from now on against its annotations.

    What does not fit raises ``typeguard.TypeCheckError``, which names the argument, what it should be and
    what was given.

    :raises ImportError: without ``typeguard``, which does it.
    """
    try:
        import typeguard
    except ImportError as error:
        raise ImportError(
            "TRUSTFORMERS_TYPECHECK needs typeguard: pip install 'trustformers[typecheck]'"
        ) from error
    # Some names in annotations are only imported for type checkers: they would make modules need one another.
    typeguard.config.forward_ref_policy = typeguard.ForwardRefPolicy.IGNORE
    typeguard.install_import_hook(__package__)
