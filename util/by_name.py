"""What a flag chooses by the name of a file: ``--model cycle_gan`` is CycleGANModel of models/cycle_gan_model.py."""

import importlib
import pkgutil
import sys
from dataclasses import dataclass

from util.errors import UserError
from util.words import did_you_mean


@dataclass(frozen=True)
class FilesByName:
    """The files PACKAGE/NAME_KIND.py, among which ``flag`` chooses by NAME. Needs no torch, whose import takes seconds,
    until one is imported."""

    flag: str
    package: str
    kind: str

    def names(self) -> list[str]:
        """What the flag can be; base_KIND.py is what the others extend."""
        files, ending = pkgutil.iter_modules(sys.modules[self.package].__path__), f"_{self.kind}"
        return sorted({file.name.removesuffix(ending) for file in files if file.name.endswith(ending)} - {"base"})

    def check(self, name: str) -> None:
        """``UserError`` where there is no such file."""
        names = self.names()
        if name not in names:
            raise UserError(
                f"{self.flag} {name}: there is no {self.package}/{name}_{self.kind}.py; choose from {', '.join(names)}"
                f"{did_you_mean(name, names)}"
            )

    def find(self, name: str, base: type) -> type:
        """The file's class, a ``base``: its name is NameKIND in any case, without underscores."""
        self.check(name)
        module = f"{self.package}.{name}_{self.kind}"
        file = module.replace(".", "/") + ".py"
        try:
            found = vars(importlib.import_module(module))
        except ImportError as error:  # a file from elsewhere may want others that lay beside it
            raise UserError(
                f"{self.flag} {name}: {file}: {error}; copy what it imports here, or install that package"
            ) from error
        wanted = name.replace("_", "") + self.kind
        for attribute, cls in found.items():
            if attribute.lower() == wanted and isinstance(cls, type) and issubclass(cls, base):
                return cls
        raise UserError(f"{file} must define a subclass of {base.__name__} called {wanted} (in any case)")
