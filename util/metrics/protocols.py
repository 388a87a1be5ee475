"""The papers' evaluations by name: which images, how many, at which size."""

from dataclasses import dataclass

from util.errors import UserError


@dataclass(frozen=True)
class Protocol:
    """``translations`` of testA against ``references`` of testB at ``size`` pixels, in the two resizes of
    clean-fid's table."""

    name: str
    translations: int
    references: int
    size: int = 256
    resizes: tuple[str, ...] = ("legacy", "clean")

    def check(self, translations: int, references: int) -> None:
        for found, wanted, what in (
            (references, self.references, "real testB images"),
            (translations, self.translations, "translated testA images"),
        ):
            if found != wanted:
                raise UserError(f"--protocol {self.name} takes {wanted} {what}, not {found}: the scores depend on it")


PROTOCOLS = {p.name: p for p in (Protocol("horse2zebra", 120, 140), Protocol("cat2dog", 500, 500))}
