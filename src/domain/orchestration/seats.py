"""Which instance is whose, how many there may be, and which one makes room for another."""

from typing import Generic, TypeVar

T = TypeVar("T")
Key = tuple[str, ...]


class Seat(Generic[T]):
    """An instance that is one key's, and how many of the key's calls use it now."""

    __slots__ = ("instance", "key", "users")

    def __init__(self, key: Key, instance: T) -> None:
        self.key = key
        self.instance = instance
        self.users = 0


class Seats(Generic[T]):
    """At most `most` seats, those included that are being ended; one key has one seat."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[Key, Seat[T]] = {}
        self._ending: list[Seat[T]] = []

    @property
    def held(self) -> tuple[Seat[T], ...]:
        """Those that belong to a key, the least recently used first."""
        return tuple(self._held.values())

    @property
    def ending(self) -> tuple[Seat[T], ...]:
        """Those that belong to nobody any more and still take a place."""
        return tuple(self._ending)

    @property
    def room(self) -> bool:
        """Whether one more may be."""
        return len(self._held) + len(self._ending) < self._most

    def find(self, key: Key) -> Seat[T] | None:
        """The seat of a key."""
        return self._held.get(key)

    def add(self, key: Key, instance: T) -> Seat[T]:
        """A new seat for a key that has none; there must be room."""
        seat = self._held[key] = Seat(key, instance)
        return seat

    def take(self, seat: Seat[T]) -> None:
        """One more call uses it, which makes it the most recently used."""
        seat.users += 1
        self._held[seat.key] = self._held.pop(seat.key)

    def leave(self, seat: Seat[T]) -> bool:
        """A call is over; whether nobody uses it any more and it still belongs to its key."""
        seat.users -= 1
        return not seat.users and self._held.get(seat.key) is seat

    def idle(self) -> Seat[T] | None:
        """The least recently used of those that no call uses."""
        return next((seat for seat in self._held.values() if not seat.users), None)

    def end(self, seat: Seat[T]) -> None:
        """Take it from its key, if it has one; its place stays taken until it is `gone`."""
        if self._held.get(seat.key) is seat:
            del self._held[seat.key]
        self._ending.append(seat)

    def gone(self, seat: Seat[T]) -> None:
        """Nothing of it is left."""
        self._ending.remove(seat)

    def give_up(self, seat: Seat[T]) -> T:
        """Take its instance from its key and from the count."""
        del self._held[seat.key]
        return seat.instance
