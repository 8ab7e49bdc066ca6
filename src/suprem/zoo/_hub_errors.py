"""Turns what the Hub's client raises into one sentence that says what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from suprem.errors import HubError, OfflineError, SupremError, first_line

if TYPE_CHECKING:
    from suprem.zoo.hub import HubFile

__all__ = ["explained", "is_temporary"]

_BUSY = (408, 429, 500, 502, 503, 504)


@contextmanager
def explained(wanted: "HubFile", *, uploading: bool = False) -> Iterator[None]:
    """Everything the client raises inside the block becomes a :class:`~suprem.errors.HubError`.

    Args:
        wanted: what is fetched or sent.
        uploading: the block sends.
    """
    try:
        yield
    except SupremError:
        raise
    except Exception as error:
        cause = _innermost(error)
        # What the client finds wrong with a model card or a batch of files is in the outer error.
        translated = _not_sent(error, cause, wanted) if uploading else _translated(cause, wanted)
        if translated is None:
            raise
        raise translated from error


def is_temporary(error: BaseException, *, worth_a_retry: bool = False) -> bool:
    """Whether the network or the server is to blame, so that a cached copy may be used.

    Args:
        error: what the client raised.
        worth_a_retry: count only what may pass within seconds; a refused connection and offline mode do not.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    cause = _innermost(error)
    if isinstance(cause, HfHubHTTPError):
        return cause.response.status_code in _BUSY
    if isinstance(cause, OfflineModeIsEnabled):
        return not worth_a_retry
    if _is_transport(cause):
        return not worth_a_retry or "Timeout" in type(cause).__name__
    return False


def _innermost(error: BaseException) -> BaseException:
    """The client wraps the reason of a failed look-up in one about its cache; the reason is what matters."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    while isinstance(error, (LocalEntryNotFoundError, ValueError)) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _is_transport(error: BaseException) -> bool:
    from huggingface_hub.errors import HfHubHTTPError

    # The base class of the HTTP library that this version of the client uses.
    return isinstance(error, HfHubHTTPError.__bases__[0]) and not isinstance(error, HfHubHTTPError)


def _translated(error: BaseException, wanted: "HubFile") -> SupremError | None:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, (OfflineModeIsEnabled, LocalEntryNotFoundError)):
        return OfflineError(
            f"{wanted} is not in the cache, and HF_HUB_OFFLINE forbids the network. Unset it, or download the file "
            f"elsewhere into the same place{wanted.otherwise}."
        )
    if isinstance(error, HfHubHTTPError):
        return _refused(error.response.status_code, error, wanted)
    if _is_transport(error):
        return OfflineError(
            f"{wanted} is not in the cache, and the Hub cannot be reached ({type(error).__name__}: {error}). Check the "
            f"network and proxy{wanted.otherwise}."
        )
    if isinstance(error, HFValidationError):
        return HubError(f"{wanted}: {error} Write it as owner/repo.")
    if isinstance(error, OSError):
        reason = "no space is left in the cache" if error.errno == errno.ENOSPC else first_line(error)
        return HubError(f"{wanted} could not be downloaded: {reason}. Set cache_dir or HF_HUB_CACHE to another place.")
    return None


def _refused(status: int, error: BaseException, wanted: "HubFile") -> HubError:
    from huggingface_hub import constants
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RevisionNotFoundError

    page = f"{constants.ENDPOINT}/{wanted.repo}"
    if isinstance(error, GatedRepoError):
        text = f"access must be granted by its owners. Ask for it on {page}, then run `hf auth login` or set HF_TOKEN."
    elif isinstance(error, RevisionNotFoundError):
        text = f"the repository has no revision {wanted.revision!r}; see {page}/commits/main."
    elif isinstance(error, EntryNotFoundError):
        text = f"the repository has no such file; see {page}/tree/{wanted.revision or 'main'}."
    elif status == 401:
        text = f"it wants a login, or has no such repository. Check {page}; run `hf auth login` or set HF_TOKEN."
    elif status == 403:
        text = f"your token may not read it. Check {page} and the token's permissions (https://hf.co/settings/tokens)."
    elif status == 404:
        text = f"there is no such repository; check {page}."
    elif status == 429:
        text = "too many requests. Wait some minutes; a login (`hf auth login`) raises the limit."
    elif status >= 500:
        text = "the server has a problem. Try again later; what is cached keeps working with HF_HUB_OFFLINE=1."
    else:
        text = first_line(error)
    return HubError(f"{wanted} was refused by the Hub (HTTP {status}): {text}")


def _not_sent(error: BaseException, cause: BaseException, wanted: "HubFile") -> SupremError | None:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if isinstance(error, HFValidationError):
        return HubError(f"{wanted.repo!r} is no name of a repository: {_line(error)} Write it as owner/name.")
    if isinstance(error, ValueError) and not isinstance(error, HfHubHTTPError):
        return HubError(f"{wanted} was refused: {_line(error)} Correct it and repeat the command.")
    if isinstance(cause, OfflineModeIsEnabled):
        return OfflineError(f"{wanted} was not published: HF_HUB_OFFLINE forbids the network. Unset it.")
    if isinstance(cause, HfHubHTTPError):
        return _upload_refused(cause.response.status_code, cause, wanted)
    if isinstance(cause, ConnectionError) and "HTTP status" in str(cause):  # of the transfer library hf_xet
        return HubError(f"{wanted} was refused by the Hub's storage: {_line(cause)} Check that your token may write.")
    if _is_transport(cause) or isinstance(cause, ConnectionError):
        return OfflineError(
            f"{wanted} was not published: the connection failed ({type(cause).__name__}: {_line(cause)}). Check the "
            "network and proxy and repeat the command; what has arrived is not sent again."
        )
    return None


def _upload_refused(status: int, error: BaseException, wanted: "HubFile") -> HubError:
    if status == 401:
        text = "it wants a login. Run `hf auth login` or set HF_TOKEN, with a token that may write."
    elif status == 403:
        text = "your token may not write there. Make one with write permission (https://hf.co/settings/tokens)."
    elif status in (409, 412):
        text = "somebody has changed the repository meanwhile, so nothing was published. Repeat the command."
    elif status == 413:
        text = "the file is larger than the Hub takes in this way."
    elif status == 429:
        text = "too many requests. Wait some minutes and repeat the command."
    elif status >= 500:
        text = "the server has a problem. Repeat the command later; what has arrived is not sent again."
    else:
        text = _line(error)
    return HubError(f"{wanted} was refused by the Hub (HTTP {status}): {text}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
