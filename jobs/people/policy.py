"""Policy: what whoever makes a request may see and do. Pages, API and streams ask it, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from jobs import datasets, uploads
from jobs.datasets import Dataset
from jobs.errors import DatasetNotFoundError, NotAllowedError, UploadDeletedError
from jobs.people import access, accounts, tokens
from jobs.people.accounts import Account
from jobs.people.roles import Role, Scope
from jobs.people.tokens import Token
from jobs.uploads import Owner, Upload
from jobs.view import EVERYTHING, View


@dataclass(frozen=True)
class Caller:
    """account_id, name: None for the single user, who needs no account, and for reports with the shared secret.

    session_id, token_id: what identified the caller. scopes: None for a person, who is not limited by any.
    dataset: the only one that exists for the caller's token.
    """

    account_id: int | None = None
    name: str | None = None
    role: Role = Role.ADMIN
    session_id: int | None = None
    token_id: int | None = None
    scopes: frozenset[Scope] | None = None
    dataset: str | None = None

    @classmethod
    def signed_in(cls, account: Account, session_id: int | None = None) -> "Caller":
        return cls(account.id, account.name, account.role, session_id)

    @classmethod
    def with_token(cls, account: Account, token: Token) -> "Caller":
        return cls(
            account.id, account.name, account.role, token_id=token.id, scopes=token.scopes, dataset=token.dataset
        )


#: Whoever can connect while there is no account.
SINGLE_USER = Caller()
#: A script with `BULK_UPLOAD_NOTIFY_TOKEN`.
REPORTER = Caller(role=Role.UPLOADER, scopes=frozenset({Scope.NOTIFY}))


@dataclass(frozen=True)
class Policy:
    """roles: what is granted to the caller in restricted datasets; the others of them are hidden in `view`."""

    caller: Caller
    view: View = EVERYTHING
    roles: Mapping[str, Role] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: sa.Connection, caller: Caller) -> "Policy":
        return cls.of_all(connection, [caller])[0]

    @classmethod
    def of_sender(cls, connection: sa.Connection, upload: Upload) -> "Policy":
        """Of whoever sent an upload, as far as it is about datasets. Without an account that is everybody."""
        account = None if upload.account_id is None else accounts.by_id(connection, upload.account_id)
        if account is None:
            return cls(SINGLE_USER)
        dataset = None if upload.token_id is None else tokens.dataset_of(connection, upload.token_id)
        return cls.of(connection, replace(Caller.signed_in(account), dataset=dataset))

    @classmethod
    def of_all(cls, connection: sa.Connection, callers: Sequence[Caller]) -> "list[Policy]":
        """The policies of several callers, with the same few queries as for one."""
        limited = {each.account_id for each in callers if each.account_id is not None and each.role is not Role.ADMIN}
        if not limited:
            return [cls(caller, View(only=caller.dataset)) for caller in callers]
        closed = access.restricted(connection)
        granted = access.granted(connection, sorted(limited)) if closed else {}
        return [cls._of(caller, closed, granted.get(caller.account_id or 0, {})) for caller in callers]

    @classmethod
    def _of(cls, caller: Caller, closed: frozenset[str], granted: Mapping[str, Role]) -> "Policy":
        if caller.account_id is None or caller.role is Role.ADMIN:
            return cls(caller, View(only=caller.dataset))
        roles = {dataset: role for dataset, role in granted.items() if dataset in closed}
        return cls(caller, View(closed.difference(roles), caller.dataset), roles)

    def has_scope(self, scope: Scope) -> bool:
        return self.caller.scopes is None or scope in self.caller.scopes

    def role_in(self, dataset: str | None) -> Role:
        """What the caller is in a dataset that the caller sees; None: in one that does not exist yet."""
        if self.caller.role is Role.ADMIN or dataset is None:
            return self.caller.role
        return self.roles.get(dataset, self.caller.role)

    def upload(self, connection: sa.Connection, upload_id: int) -> Upload:
        """Raises UploadNotFoundError, also for one that is hidden."""
        return uploads.get(connection, upload_id, self.view)

    def dataset(self, connection: sa.Connection, name: str) -> Dataset:
        """Raises DatasetNotFoundError, also for one that is hidden."""
        if not self.view.shows(name):
            raise DatasetNotFoundError(name)
        return datasets.get(connection, name)

    @property
    def owner(self) -> Owner:
        """Of what the caller uploads."""
        return Owner(self.caller.account_id, self.caller.token_id, self.caller.name)

    def require(self, role: Role, scopes: Sequence[Scope]) -> None:
        """Raises NotAllowedError unless the caller has a role somewhere, and one of the scopes. An administrator is one
        everywhere: who is granted that role in a dataset is not."""
        self._require_scope(*scopes)
        granted = () if role is Role.ADMIN else self.roles.values()
        if not any(each.includes(role) for each in (self.caller.role, *granted)):
            raise NotAllowedError(_lacking(role))

    @property
    def may_upload_somewhere(self) -> bool:
        roles = (self.caller.role, *self.roles.values())
        return self.has_scope(Scope.UPLOAD) and any(each.includes(Role.UPLOADER) for each in roles)

    def require_whole_server(self) -> None:
        """Raises NotAllowedError for an API token for which only one dataset exists."""
        if self.caller.dataset is not None:
            raise NotAllowedError(f"This API token is for the dataset “{self.caller.dataset}” only.")

    def require_upload_into(self, dataset: str | None, scopes: Sequence[Scope] = (Scope.UPLOAD,)) -> None:
        """None: into a new dataset. scopes: one of them is needed. Raises NotAllowedError."""
        self._require_scope(*scopes)
        if self.caller.dataset is not None and dataset != self.caller.dataset:
            raise NotAllowedError(f"This API token is for the dataset “{self.caller.dataset}” only.")
        if not self.role_in(dataset).includes(Role.UPLOADER):
            raise NotAllowedError(_lacking(Role.UPLOADER, dataset))

    def may_upload_into(self, dataset: str | None) -> bool:
        """Whether `require_upload_into` lets the caller pass."""
        try:
            self.require_upload_into(dataset)
        except NotAllowedError:
            return False
        return True

    def require_change_of(self, upload: Upload) -> None:
        """Whether the caller may cancel, retry, import or delete an upload. Raises NotAllowedError, and
        UploadDeletedError for whoever may."""
        self.require_own(upload)
        if upload.is_deleted:
            raise UploadDeletedError(upload.id)

    def require_own(self, upload: Upload) -> None:
        """Whether the caller may repair or undo an upload, also a deleted one: its own, or as an administrator. Raises
        NotAllowedError."""
        self._require_scope(Scope.UPLOAD)
        role = self.role_in(upload.dataset)
        if role is Role.ADMIN or self.caller.account_id is None:
            return
        if not role.includes(Role.UPLOADER):
            raise NotAllowedError(_lacking(Role.UPLOADER, upload.dataset))
        if upload.account_id != self.caller.account_id:
            raise NotAllowedError("Somebody else uploaded this file. Whoever did may change it, or an administrator.")

    def why_not_own(self, upload: Upload) -> str | None:
        """Why `require_own` does not let the caller pass; None if it does."""
        try:
            self.require_own(upload)
        except NotAllowedError as error:
            return str(error)
        return None

    def may_report_on(self, upload: Upload) -> bool:
        """Whether the caller may report on an external upload: one that it announced itself, or that belongs to its
        account. The single user, and whoever has the shared secret, may where nobody owns it."""
        if upload.account_id is None:
            return self.caller.account_id is None
        if upload.account_id != self.caller.account_id:
            return False
        return self.caller.token_id is None or upload.token_id in (None, self.caller.token_id)

    def _require_scope(self, *scopes: Scope) -> None:
        if not any(map(self.has_scope, scopes)):
            raise NotAllowedError(f"This API token lacks the scope “{'” or “'.join(scopes)}”.")


def _lacking(role: Role, dataset: str | None = None) -> str:
    where = f" in the dataset “{dataset}”" if dataset else ""
    return f"This takes the role “{role}”{where}. Ask an administrator for it."
