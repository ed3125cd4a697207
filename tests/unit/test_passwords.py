"""The operator's password as a hash."""

import pytest

from core.passwords import fits, hashed, is_hash

WHOLE = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRoZXJl$" + "A" * 43


@pytest.mark.parametrize("password", ["pässwörd ✓", "\udcff"])
def test_a_hash_fits_its_password_and_no_other(password: str) -> None:
    known = hashed(password)
    assert is_hash(known)
    assert fits(password, known)
    assert not fits(password + " ", known)
    assert hashed(password) != known, "each has a salt of its own"


@pytest.mark.parametrize("text", ["a password", "", "$2b$12$bcrypt-like", "p=4", "argon2id"])
def test_what_is_a_password(text: str) -> None:
    assert not is_hash(text)


@pytest.mark.parametrize(
    "piece",
    [
        WHOLE[:40],
        WHOLE + "$",
        WHOLE.replace("argon2id", "argon2i"),
        "$argon2",
        "=19=8,t=1,p=1",  # what a shell leaves of it between double quotes
    ],
)
def test_a_piece_of_a_hash_is_neither(piece: str) -> None:
    with pytest.raises(ValueError, match="single quotes"):
        is_hash(piece)


def test_a_hash_that_cannot_be_worked_with_is_said_to_be_so() -> None:
    with pytest.raises(ValueError, match="cannot be checked"):
        fits("x", WHOLE.replace("m=8", "m=1"))
