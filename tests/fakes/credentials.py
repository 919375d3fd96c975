"""Credentials of machines in a dictionary."""

from dataclasses import dataclass, replace
from datetime import datetime

from clarity.domain.accounts import Account
from clarity.domain.credentials import MachineCredential
from clarity.domain.errors import NotFound
from clarity.domain.ids import AccountId, CredentialId
from clarity.domain.records import Resource
from clarity.persistence.ledger import Ledger
from tests.fakes.accounts import MemoryStaff


@dataclass(frozen=True, slots=True)
class MemoryCredentialRepository:
    """`CredentialRepository` over `MemoryStaff`."""

    staff: MemoryStaff
    ledger: Ledger

    async def add(self, credential: MachineCredential, digest: bytes) -> None:
        self.staff.credentials[credential.id] = (credential, digest)
        self.ledger.change(Resource.CREDENTIAL, credential.id)

    async def get(self, credential: CredentialId) -> MachineCredential:
        if credential not in self.staff.credentials:
            raise NotFound
        return self.staff.credentials[credential][0]

    async def find(self, credential: CredentialId, digest: bytes) -> tuple[MachineCredential, Account] | None:
        stored = self.staff.credentials.get(credential)
        if stored is None or stored[1] != digest:
            return None
        return stored[0], self.staff.accounts[stored[0].account].account

    async def find_page(
        self, account: AccountId, *, before: CredentialId | None, at_most: int
    ) -> list[MachineCredential]:
        found = [one for one in self._of(account) if before is None or one.id < before]
        return sorted(found, key=lambda one: one.id, reverse=True)[:at_most]

    async def count(self, account: AccountId) -> int:
        return len(self._of(account))

    async def count_in_force(self, account: AccountId, at: datetime) -> int:
        return len([one for one in self._of(account) if one.revoked_at is None and at < one.expires_at])

    async def revoke(self, credential: CredentialId, at: datetime) -> None:
        stored, digest = self.staff.credentials[credential]
        if stored.revoked_at is None:
            self.staff.credentials[credential] = (replace(stored, revoked_at=at), digest)
        self.ledger.change(Resource.CREDENTIAL, credential)

    def _of(self, account: AccountId) -> list[MachineCredential]:
        return [stored for stored, _ in self.staff.credentials.values() if stored.account == account]
