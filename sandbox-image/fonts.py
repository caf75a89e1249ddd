"""Build step: writes matplotlib's font list, with the names that code written elsewhere asks for; where the image has
fontconfig, by which other programs find fonts (LibreOffice, weasyprint), they know these names as well.

Figures in Japanese, Chinese or Korean usually name a font of the author's own system. Such a font is not free to ship,
and a name that matplotlib does not find means boxes instead of characters: these names lead to the matching Noto face.
"""

import dataclasses
import importlib.util
import pathlib
import shutil
import subprocess

FONTCONFIG = pathlib.Path("/etc/fonts/conf.d")

ALIASES = {
    "Noto Sans CJK JP": [
        *["Hiragino Sans", "Hiragino Kaku Gothic Pro", "Hiragino Kaku Gothic ProN", "Hiragino Maru Gothic Pro"],
        *["Yu Gothic", "YuGothic", "Meiryo", "MS Gothic", "MS PGothic", "IPAGothic", "IPAPGothic", "IPAexPGothic"],
        *["TakaoGothic", "TakaoPGothic", "VL Gothic", "VL PGothic", "Noto Sans JP", "Source Han Sans JP"],
    ],
    "Noto Serif CJK JP": [
        *["Hiragino Mincho Pro", "Hiragino Mincho ProN", "Yu Mincho", "YuMincho", "MS Mincho", "MS PMincho"],
        *["IPAMincho", "IPAexMincho", "Noto Serif JP"],
    ],
    "Noto Sans CJK SC": [
        *["SimHei", "Microsoft YaHei", "PingFang SC", "Heiti SC", "STHeiti", "STXihei", "Hiragino Sans GB"],
        *["WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN"],
        "Arial Unicode MS",
    ],
    "Noto Serif CJK SC": ["SimSun", "NSimSun", "STSong", "Songti SC", "FangSong", "KaiTi", "STKaiti", "Noto Serif SC"],
    "Noto Sans CJK TC": ["Microsoft JhengHei", "PingFang TC", "Heiti TC", "Noto Sans TC", "Source Han Sans TC"],
    "Noto Serif CJK TC": ["PMingLiU", "MingLiU", "Songti TC", "Noto Serif TC"],
    "Noto Sans CJK KR": [
        *["Malgun Gothic", "NanumGothic", "NanumBarunGothic", "AppleGothic", "Apple SD Gothic Neo", "Gulim", "Dotum"],
        *["Noto Sans KR", "Source Han Sans KR"],
    ],
    "Noto Serif CJK KR": ["Batang", "NanumMyeongjo", "AppleMyungjo", "Noto Serif KR"],
}


def tell_fontconfig() -> None:
    # Packages of fonts bring the folder, too.
    if shutil.which("fc-cache") is None:
        return
    aliases = [
        f'<alias binding="same"><family>{name}</family><prefer><family>{family}</family></prefer></alias>'
        for family, names in ALIASES.items()
        for name in names
    ]
    head = '<?xml version="1.0"?>\n<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">\n<fontconfig>\n'
    (FONTCONFIG / "30-kernelyard.conf").write_text(head + "\n".join(aliases) + "\n</fontconfig>\n", "utf-8")
    subprocess.run(["fc-cache", "--force"], check=True)


def main() -> None:
    tell_fontconfig()
    if importlib.util.find_spec("matplotlib") is None:
        return
    import matplotlib
    from matplotlib import font_manager

    manager = font_manager.fontManager
    present = {entry.name for entry in manager.ttflist}
    for family, aliases in ALIASES.items():
        faces = [entry for entry in manager.ttflist if entry.name == family]
        for alias in aliases:
            if alias not in present:
                manager.ttflist += [dataclasses.replace(face, name=alias) for face in faces]
    # Importing font_manager has just written the plain list under the name that this version reads.
    (written,) = pathlib.Path(matplotlib.get_cachedir()).glob("fontlist-*.json")
    font_manager.json_dump(manager, written)


main()
