"""A chain of modules in which connections pass by some of them; the modules keep their names."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor, nn

from regplug.errors import CompositionError

_CONNECTIONS = "connections"
"""Name of the child that holds the connections."""


@final
class Connection(nn.Module):
    """`shortcut(x) + branch(x)`, or with a second branch `shortcut(x) + branch(x) + twin(x)`.

    Args:
        end: Name of the last module of the branch.
        shortcut: What passes the branch by.
        twin: The second branch.
    """

    def __init__(self, end: str, shortcut: nn.Module, twin: nn.Module | None) -> None:
        super().__init__()
        self.end, self.shortcut, self.twin = end, shortcut, twin

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        """Adds up.

        Args:
            x: What the branch got.
            branch: What it returned.
        """
        added = branch if self.twin is None else branch + self.twin(x)
        passed: Tensor = self.shortcut(x)
        return passed + added


@final
class Connected(nn.Sequential):
    """An nn.Sequential with connections: a child `connections` holds them by the name of the module they start at."""

    def forward(self, x: Any) -> Any:
        """Runs the modules in their order."""
        open_: tuple[Connection, Tensor] | None = None
        connections = self._modules[_CONNECTIONS]._modules
        for name, module in self._modules.items():
            if name == _CONNECTIONS or module is None:
                continue
            if name in connections:
                open_ = connections[name], x  # type: ignore[assignment] # it holds nothing else
            x = module(x)
            if open_ is not None and open_[0].end == name:
                x, open_ = open_[0](open_[1], x), None
        return x


def connect(model: nn.Module, start: str, end: str, connection: Connection) -> None:
    """Lets a connection pass by the modules of an nn.Sequential from one name to another.

    The chain changes its class, as torch's parametrizations change a module's: its modules keep their names, by which
    regularizers tell parameters apart.

    Raises:
        CompositionError: The chain has a forward of its own.
    """
    path, _, own = start.rpartition(".")
    chain = model.get_submodule(path)
    if type(chain) is nn.Sequential:
        chain.__class__ = Connected
        chain.add_module(_CONNECTIONS, nn.ModuleDict())
    if not isinstance(chain, Connected):
        raise CompositionError(
            f"{start} and {end} stand in a {type(chain).__name__}, whose forward no connection can be put into.",
            hint="Put the layers into a plain nn.Sequential.",
        )
    chain.get_submodule(_CONNECTIONS).add_module(own, connection)
