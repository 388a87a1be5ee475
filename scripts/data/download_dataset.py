"""Fetch a data set of the CycleGAN, CUT or pix2pix authors into datasets/NAME.

    python scripts/data/download_dataset.py horse2zebra
    python scripts/data/download_dataset.py --list
    python scripts/data/download_dataset.py horse2zebra --archive horse2zebra.zip     (fetched on another machine)

A download that was cut off goes on where it stopped, with the same address. Where its size and SHA-256 are known they
are checked; for the others --sha256 checks it, or else what was seen the first time, which is kept in ARCHIVE.sha256.
Licences are the authors'; most sets are for research only.
"""

import hashlib
import http.client
import tarfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

import repository  # noqa: F401
from tqdm.auto import tqdm

from util.errors import UserError, run, warn
from util.files import new_folder, write_atomic, writing_to
from util.flag_types import ScriptParser
from util.words import did_you_mean

BERKELEY = "https://efrosgans.eecs.berkeley.edu"
OLDER = "https://people.eecs.berkeley.edu/~taesung_park/CycleGAN/datasets"
CUT_FILES = "https://raw.githubusercontent.com/taesungp/contrastive-unpaired-translation/master/datasets"
UNREACHABLE = (urllib.error.URLError, ConnectionError, TimeoutError, ValueError, http.client.HTTPException)


@dataclass(frozen=True)
class Dataset:
    """``urls`` are tried in order. ``files``: paths below a URL instead of one archive."""

    urls: tuple[str, ...]
    size: int | None = None
    sha256: str | None = None
    files: tuple[str, ...] = ()


PUBLISHED = {  # size and SHA-256 of CycleGAN's archives, as the TensorFlow Datasets project records them
    "apple2orange": (78456409, "845a191e9af8926408ea597001cd03a452e3300a1f44a79fe329b3d59f6e3eb8"),
    "cezanne2photo": (279885071, "3a6c10ca21f9485862f1cbd707744b9dc258954a04631271d23a3605eeb63cff"),
    "facades": (35135868, "9a31ebf3a31b9b5cd195dd5bf62e9308e00cb94604d1019e3889ac84248695c0"),
    "horse2zebra": (116867962, "a74d9d392eecca9966b51287a76ca126af473d9de4f3e8fc0e9cda08fa1730a1"),
    "iphone2dslr_flower": (339964458, "8fcb5e374d631b107e1d961b8c4cd0a186aa2a4ff3e279923f4c426128de7113"),
    "maps": (1476754427, "639534f69dbf9f36bef8d6292a7698006361221f83f0285d7c9ca78afe6e8a9e"),
    "monet2photo": (305231073, "88f91b00fc228f97c9411fbf1880ec1d119c98f1722e4cfcfaa2fb35fac05b04"),
    "summer2winter_yosemite": (132640856, "167fe1726807a9d22bd106b4a6c0bd7953b688af924ac1bf967439c4961e49f9"),
    "ukiyoe2photo": (292946532, "02a2a2fb5ecf425ca1bf86aca7304377da64a2a1d3b86df54eb65e4068bf3b08"),
    "vangogh2photo": (306590349, "362c3473e70be0944bda08d49d660eafdc2854df55d697835b8186d1d79caaff"),
}
PIX2PIX = ("edges2handbags", "edges2shoes", "facades", "maps", "night2day")


def cyclegan(name: str) -> Dataset:
    return Dataset((f"{BERKELEY}/cyclegan/datasets/{name}.zip", f"{OLDER}/{name}.zip"), *PUBLISHED.get(name, ()))


DATASETS = {
    **{f"{name}_unaligned" if name in PIX2PIX else name: cyclegan(name) for name in ("ae_photos", *PUBLISHED)},
    **{name: Dataset((f"{BERKELEY}/pix2pix/datasets/{name}.tar.gz",)) for name in PIX2PIX},
    "grumpifycat": Dataset((f"{BERKELEY}/CUT/datasets/grumpifycat.zip", f"{OLDER}/grumpifycat.zip")),
    "single_image_monet_etretat": Dataset(
        (f"{CUT_FILES}/single_image_monet_etretat",), files=("trainA/monet.jpg", "trainB/etretat-normandy-france.jpg")
    ),
    "afhq": Dataset(("https://www.dropbox.com/s/t9l9o3vsx2jai3z/afhq.zip?dl=1",)),
}
ELSEWHERE = {
    "cityscapes": "its licence forbids passing it on: get gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip "
    "from cityscapes-dataset.com, then use scripts/data/prepare_cityscapes.py",
    "cat2dog": "it is made from AFHQ: scripts/data/download_dataset.py afhq, then scripts/data/prepare_cat2dog.py",
}


def main(argv: list[str] | None = None) -> None:
    parser = ScriptParser(__doc__)
    add = parser.add_argument
    add("name", nargs="?", help="which data set")
    add("--list", action="store_true", help="print the names and end")
    add("--out", type=Path, default=Path("datasets"), help="folder of all data sets")
    add("--mirror", help="address of a folder that holds the same files")
    add("--archive", type=Path, help="use this file instead of downloading")
    add("--sha256", help="check the archive against this")
    add("--keep_archive", action="store_true", help="do not remove the archive afterwards")
    args = parser.parse_args(argv)
    there = sorted([*DATASETS, *ELSEWHERE])
    if args.list or not args.name:
        print("\n".join(there))
        return
    if args.name in ELSEWHERE:
        raise UserError(f"{args.name}: {ELSEWHERE[args.name]}")
    if args.name not in DATASETS:
        raise UserError(f"{args.name} is not known; choose from {', '.join(there)}{did_you_mean(args.name, there)}")
    target = args.out / args.name
    if target.exists():
        raise UserError(f"{target} exists already; remove it to fetch it again")
    dataset = DATASETS[args.name]
    with writing_to("--out", args.out):
        args.out.mkdir(parents=True, exist_ok=True)
        if dataset.files:
            fetch_files(dataset, target, args.mirror)
        else:
            archive = args.archive or fetch_archive(dataset, args.out, args.mirror)
            sha256 = check(archive, dataset, args.sha256)
            unpack(archive, target)
            if not (args.sha256 or dataset.sha256):
                keep_checksum(archive, sha256)
            if not args.archive and not args.keep_archive:
                archive.unlink()
    folders = sorted(path for path in target.iterdir() if path.is_dir())
    for folder in folders:
        print(f"{folder}: {sum(path.is_file() for path in folder.rglob('*'))} files")


def addresses(dataset: Dataset, mirror: str | None) -> list[str]:
    """Those of the mirror instead of the data set's own."""
    if mirror is None:
        return list(dataset.urls)
    return [f"{mirror.rstrip('/')}/{file_name(dataset.urls[0])}"]


def file_name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def fetch_archive(dataset: Dataset, folder: Path, mirror: str | None) -> Path:
    """Download to ``folder`` from the first address that answers."""
    reasons = []
    for url in addresses(dataset, mirror):
        path = folder / file_name(url)
        reason = None if path.exists() else download(url, path)
        if reason is None:
            return path
        reasons.append(f"{url} ({reason})")
    raise UserError(
        f"the archive cannot be fetched from {' nor '.join(reasons)}; check the network, name a --mirror, or fetch it "
        "on another machine and give it with --archive FILE"
    )


def fetch_files(dataset: Dataset, target: Path, mirror: str | None) -> None:
    """A data set of single files."""
    base = addresses(dataset, mirror)[0]
    with new_folder("--out", target) as folder:
        for name in dataset.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            reason = download(f"{base}/{name}", folder / name)
            if reason is not None:
                raise UserError(f"{base}/{name} cannot be fetched ({reason}); check the network or name a --mirror")


def download(url: str, path: Path) -> str | None:
    """``fetch``; why it can't be had, if so."""
    try:
        fetch(url, path)
    except UNREACHABLE as error:
        return str(getattr(error, "reason", error))
    return None


def fetch(url: str, path: Path) -> None:
    """Write ``url`` to ``path``. What an earlier attempt with the same address left is gone on with: another address
    may have another file."""
    part = path.with_name(f"{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not done:  # 416: there is nothing after what we have
            raise
        part.rename(path)
        return
    with answer:
        if answer.status != 206:  # the server starts from the beginning
            done = 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=path.name, disable=None)
        with bar, open(part, "r+b" if done else "wb") as file:
            file.seek(done)
            while block := answer.read(1 << 20):
                file.write(block)
                bar.update(len(block))
            finished = total is None or file.tell() == total
    if not finished:
        raise ConnectionError("it ended early; the same command goes on from there")
    part.rename(path)
    for other in path.parent.glob(f"{path.name}*.part"):  # begun at other addresses
        other.unlink()


def check(archive: Path, dataset: Dataset, sha256: str | None) -> str:
    """The archive's SHA-256; ``UserError`` where it is not the known one, nor, where none is known, the one seen
    before."""
    if not archive.is_file():
        raise UserError(f"--archive {archive} does not exist")
    with open(archive, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    wanted = sha256 or dataset.sha256
    if wanted:
        if found == wanted.lower():
            return found
        raise UserError(
            f"{archive} is not the published file: its SHA-256 is {found}, not {wanted} ({archive.stat().st_size} "
            f"bytes, {dataset.size or 'an unknown number'} expected); remove it and fetch it again"
        )
    kept = checksum_file(archive)
    if not kept.is_file():
        print(f"SHA-256 {found}: no published one is known to compare it with, so it is taken as it is")
    elif found == (seen := kept.read_text().split()[0]):
        print(f"SHA-256 {found}, as last time (no published one is known)")
    else:
        raise UserError(
            f"{archive} is not the file of last time: its SHA-256 is {found}, not {seen} as {kept} says; remove "
            f"the archive to fetch it again, or {kept.name} to take it as it is"
        )
    return found


def checksum_file(archive: Path) -> Path:
    return archive.with_name(archive.name + ".sha256")


def keep_checksum(archive: Path, sha256: str) -> None:
    """Beside the archive, as ``sha256sum --check`` reads it, for next time."""
    try:
        write_atomic(checksum_file(archive), f"{sha256}  {archive.name}\n")
    except OSError as error:
        warn(f"the SHA-256 could not be kept in {checksum_file(archive)} for next time: {error}")


def unpack(archive: Path, target: Path) -> None:
    """Nothing half-unpacked, nothing outside of ``target``."""
    with new_folder("--out", target) as new:
        folder = new.with_name("unpacked")
        folder.mkdir()
        try:
            if zipfile.is_zipfile(archive):
                unpack_zip(archive, folder)
            else:
                with tarfile.open(archive) as tar:
                    tar.extractall(folder, filter="data")  # refuses absolute paths, .., links out, devices
        except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise UserError(f"{archive} cannot be unpacked ({error}); remove it and fetch it again") from error
        inside = [path for path in folder.iterdir() if path.name != "__MACOSX"]
        single = len(inside) == 1 and inside[0].is_dir()  # usual: one folder, whatever its name
        (inside[0] if single else folder).rename(new)


def unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise UserError(f"{archive} holds {name!r}, which lies outside of it: not unpacked")
        file.extractall(folder)  # links come out as small files


if __name__ == "__main__":
    run(main)
