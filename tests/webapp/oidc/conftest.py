"""The application with an issuer."""

from collections.abc import Iterator

import pytest

from jobs.settings import Settings
from tests.support.issuers import Liar, Provider, provider, settings_for
from tests.support.serving import Served


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    return sqlite_database_url


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """One that others wrote."""
    with provider(tmp_path_factory.mktemp("issuer")) as running:
        yield running


@pytest.fixture
def liar() -> Iterator[Liar]:
    with Liar() as liar:
        yield liar


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """With the issuer that the test asks for."""
    name = "liar" if "liar" in request.fixturenames else "issuer"
    return settings.model_copy(
        update={
            **settings_for(request.getfixturevalue(name).url),
            "oidc_role_claim": "bulk.role",
            "oidc_group_claim": "groups",
        }
    )


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    with Served(settings) as served:
        yield served
