import dataclasses
import json
import re
from html.parser import HTMLParser

import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from plotly.offline import get_plotlyjs

import ultra_kit as uk
from ultra_kit.widgets import page_host as pages

HOSTILE = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1><!--\u2028"
LAYOUT = uk.types.Layout("image", n_prefix=1, grid=(2, 3), size=(20, 30))


def image_maps(**changes):
    values = np.random.default_rng(0).random((6, 7), np.float32)
    options = {"input": np.full((20, 30, 3), 90, np.uint8), "card": {"note": HOSTILE}, **changes}
    return uk.types.ExplanationMaps(values, np.arange(1, 7), 2, LAYOUT, **options)


def text_maps(label):
    layout = uk.types.Layout("text", n_prefix=0, tokens=("plain", label))
    return uk.types.ExplanationMaps(np.ones((2, 2), np.float32), np.arange(2), 1, layout, input=label)


class Reader(HTMLParser):
    """Collects the tags, addresses and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.addresses, self.handlers, self.text = [], [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "srcset", "data")]
        self.handlers += [k for k, _ in attrs if k.startswith("on")]

    def handle_data(self, data):
        self.text += data


def written(obj, tmp_path, **options) -> str:
    return uk.export_html(obj, tmp_path / "folder" / "x.html", **options).read_text("utf-8")


@pytest.mark.parametrize(
    "obj",
    [
        image_maps(),
        text_maps(HOSTILE),
        uk.segment(image_maps()),
        uk.widgets.TokenExplorer(image_maps(), names=[HOSTILE]),
    ],
    ids=["image", "text", "segments", "view"],
)
def test_pages_hold_everything_and_text_stays_text(obj, tmp_path):
    page = written(obj, tmp_path, title=HOSTILE)
    reader = Reader(page)
    assert page.index("Content-Security-Policy") < page.index("<title>")
    assert all(a.startswith("data:") for a in reader.addresses)
    assert reader.handlers == []
    assert "http://" not in page and "https://" not in page
    # The hostile text is there, once as heading and once or more as data, and made no element.
    assert "<img src=x onerror=window.pwned=1>" in reader.text
    assert "x" not in reader.addresses


def test_script_json_round_trips_and_cannot_end_a_script():
    value = {"a": [HOSTILE, "\u2029", "&amp;", "שלום", 1.5, None]}
    text = pages.script_json(value)
    assert json.loads(text) == value
    assert not re.search(r"[<>&\u2028\u2029]", text)
    with pytest.raises(ValueError, match="JSON compliant"):
        pages.script_json(float("nan"))


def test_views_with_imports_are_refused():
    for source in (
        "import x from 'y';\nexport default { render };",
        "function render() {}",
        "export default { render };\n1",
    ):
        with pytest.raises(ValueError, match="a view must import nothing"):
            pages._inline(source)


def test_bytes_of_a_view_travel_deflated_where_that_helps():
    import base64
    import zlib

    for data in (bytes(1000), np.random.default_rng(0).bytes(1000)):
        text, deflated = pages._pack(data)
        packed = base64.b64decode(text)
        assert (zlib.decompress(packed) if deflated else packed) == data
        assert deflated == (len(set(data)) == 1)


def test_figures_become_pages(tmp_path):
    import plotly.graph_objects as go

    figure = Figure()
    figure.subplots().plot([1, 2])
    assert "data:image/png;base64," in written(figure, tmp_path)
    page = written(go.Figure(go.Bar(y=[1, 2]), layout={"title": HOSTILE}), tmp_path)
    assert "Plotly.newPlot" in page
    assert HOSTILE not in page


def test_what_has_no_page_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"export_html takes ExplanationMaps, .* got dict"):
        uk.export_html({}, tmp_path / "x.html")
    with pytest.raises(uk.UltraError, match=r"cannot read .* as a notebook"):
        uk.export_html(tmp_path / "missing.ipynb", tmp_path / "x.html")
    (tmp_path / "bad.ipynb").write_text("{}")
    with pytest.raises(uk.UltraError, match=r"cannot read .* as a notebook"):
        uk.export_html(tmp_path / "bad.ipynb", tmp_path / "x.html")
    with pytest.raises(TypeError, match=r"the path comes second, got ExplanationMaps there"):
        uk.export_html(tmp_path / "x.html", image_maps())
    (tmp_path / "file").write_text("")
    with pytest.raises(uk.UltraError, match="cannot write"):
        uk.export_html(image_maps(), tmp_path / "file" / "x.html")


def notebook(tmp_path, *cells, **metadata):
    path = tmp_path / "nb.ipynb"
    nbformat.write(new_notebook(cells=list(cells), metadata=metadata), path)
    return path


def shown(**data):
    return new_code_cell("x", outputs=[new_output("display_data", data)])


def test_formulae_become_mathml_and_code_stays_code(tmp_path):
    text = (
        "# Why $z_i$\n\nInline $a_i * b_i$ and $c_i * d_i$, \\$5 and $6, `$not_math$`.\n\n"
        "$$\\frac{1}{H}\n\\sum_h A_h$$\n\n```\n$x_1$\n```\n\n"
        "<details><summary>Answer</summary>\n\nIt is **folded** $f$.\n\n</details>\n"
    )
    page = written(notebook(tmp_path, new_markdown_cell(text)), tmp_path)
    assert page.count("<math") == 5
    assert 'display="block"' in page
    assert "<code>$not_math$</code>" in page and "$x_1$" in page
    assert "and $6," in page
    assert "ukformula" not in page
    assert re.search(
        r"<summary>Answer</summary>\s*<p>It is <strong>folded</strong>.*?</p>\s*</details>", page, re.S
    )
    assert "<title>Why z_i</title>" in page


def test_each_word_of_the_glossary_is_explained_where_it_first_stands(tmp_path):
    first = "# A map\n\nThe [rollout](x.html) and `layer` and $layer$: a map, **mean IoU**, two maps; sinks, the IoU.\n\n    patch\n"
    second = "A map again, a <details><summary>sink</summary>bitmap</details> sink, chance"
    page = written(notebook(tmp_path, new_markdown_cell(first), new_markdown_cell(second)), tmp_path)
    found = re.findall(r'<abbr data-means="([^"<>]+)" tabindex="0">([^<]+)</abbr>', page)
    assert [word for _, word in found] == ["map", "mean IoU", "sinks", "IoU", "chance"] and page.count(
        "<abbr "
    ) == 5
    assert found[1][0] == "The IoU averaged over classes or over images."
    again = written(notebook(tmp_path, new_markdown_cell("a map")), tmp_path)
    assert again.count("<abbr ") == 1, "each page explains its words anew"


def test_answers_are_folded_up_and_other_cells_are_not(tmp_path):
    cells = [
        nbformat.v4.new_code_cell("guess"),
        nbformat.v4.new_code_cell("solved", metadata={"tags": ["answer"]}),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "x.ipynb")
    page = uk.export_html(tmp_path / "x.ipynb", tmp_path / "x.html").read_text("utf-8")
    before, folded = page.split('<details class="answer">')
    assert "guess" in before and "solved" not in before
    assert "solved" in folded.partition("</details>")[0]


def test_notebook_pages_drop_widgets_and_hold_plotly_once(tmp_path):
    plot = {"data": [{"y": [1, 2], "type": "bar"}], "layout": {}}
    cells = [
        shown(**{"application/vnd.jupyter.widget-view+json": {"model_id": "a1"}, "text/plain": "a slider"}),
        shown(**{"application/vnd.plotly.v1+json": plot}),
        shown(**{"application/vnd.plotly.v1+json": plot}),
        shown(**{"application/javascript": "window.pwned=1", "text/plain": "script"}),
    ]
    path = notebook(tmp_path, *cells, widgets={"application/vnd.jupyter.widget-state+json": {"state": {}}})
    page = written(path, tmp_path)
    assert page.count("Plotly.newPlot(") == 2 + get_plotlyjs().count(
        "Plotly.newPlot("
    )  # that of Plotly 6 has it itself
    assert 4e6 < len(page) < 7e6  # plotly.js is about 5 MB, once
    assert "a slider" in page and "widget-view" not in page
    assert "window.pwned" not in page
    assert not re.search(r'<script[^>]+src=|<link[^>]+href="http', page)
    assert "widgets" in nbformat.read(path, as_version=4).metadata  # the notebook itself is left alone


def named(maps, **card):
    return dataclasses.replace(maps, card={"input_name": "cat.png", "model": {"name": "toy"}, **card})


def one_of_each():
    """Every result that has a page, with what its title must say."""
    maps = image_maps()
    made = {"explanation": {"layer": 2, "method": "ultra"}}
    one = dataclasses.replace(maps, values=maps.values[4:5], tokens=maps.tokens[4:5])
    groups = dataclasses.replace(one, groups=((1, 2),))
    selection = uk.images.Selection(
        mask=np.arange(600).reshape(20, 30) < 60,
        relevance=np.zeros((20, 30), np.float32),
        tokens=np.array([2]),
        unwanted_tokens=np.array([], int),
        points=((3.0, 4.0),),
        unwanted=(),
        box=None,
        text=None,
        threshold=0.5,
        layout=LAYOUT,
        input=maps.input,
        card={"model": {"name": "toy"}, "note": HOSTILE, **made},
    )
    lm = uk.load("briefs", pretrained=False)
    s = uk.summarize(lm, f"A flood struck Tiza. {HOSTILE}", summary="The flood struck.")
    ev = uk.evidence(s, words=[1], layer=1)
    curves = uk.runs.Perturbation(np.array([0.0, 1.0]), np.ones((1, 2)), np.ones((1, 2)), 4)
    rows = [{"family": "B", "method": HOSTILE, "K": 2, "accuracy": 0.5, "miou": 0.4}]
    images = [{"index": 0, "image": HOSTILE, "miou": 0.4}]
    card = {"model_name": "toy", "layer": 2, "method": "ultra", "cut": "n_segments 2"}
    data = {"name": "VOC", "split": "val", "images": 7, "crop": "full"}
    found = uk.runs.Evaluation(pd.DataFrame(rows), pd.DataFrame(images), card | {"dataset": data})
    placed = uk.atlas.PlacedInput(LAYOUT, maps.input, name=HOSTILE)
    atlas = uk.atlas.Embedding(
        points=np.float32([[0, 0], [1, 1], [2, 0], [3, 1]]),
        labels=np.int32([0, 0, 0, -1]),
        probabilities=np.float32([1, 1, 0.5, 0]),
        source=np.int32([[0, 1], [0, 2], [0, 3], [0, 4]]),
        vectors=np.eye(4, dtype=np.float16),
        inputs=(placed,),
        layer=2,
        names=(HOSTILE,),
        card={"model": {"name": "toy"}, "note": HOSTILE},
    )
    token = uk.atlas.Name(HOSTILE, 0.5, HOSTILE)
    layout = uk.types.Layout("text", 0, tokens=(HOSTILE,))
    names = uk.atlas.Names(
        np.array([0]), ((token,),), 2, "head", layout, card={"model": {"name": "toy"}, "note": HOSTILE}
    )
    like = uk.atlas.Similar(
        (placed, placed),
        np.array([1, 2]),
        np.float32([1, 0.5]),
        (),
        2,
        "map",
        {"model": {"name": "toy"}, "note": HOSTILE},
    )
    cap = uk.capture(lm, "A flood struck Tiza.")
    gone = uk.intervene(cap, remove=[1], token=3, layer=2, n_random=1)
    used = named(maps.used_by(5), **made)
    return {
        "intervention": (gone, "1 position taken away, layer 2"),
        "diagnosis": (uk.diagnose(cap, layers=[]), "Prefix tokens, sinks and long tokens in 1 input, briefs"),
        "used by": (used, "What used the token in row 1, column 1 of cat.png"),
        "names": (names, "1 token named by head, toy, layer 2"),
        "similar": (like, "1 token like one, by map, toy, layer 2"),
        "atlas": (atlas, "4 tokens of 1 input by latent, toy, layer 2"),
        "maps": (named(maps, **made), "What 6 tokens of cat.png were made from, toy, layer 2"),
        "token": (
            named(one, **made),
            "What the token in row 1, column 1 of cat.png was made from, toy, layer 2",
        ),
        "group": (named(groups, **made), "What 1 token group of cat.png was made from, toy, layer 2"),
        "word": (
            dataclasses.replace(text_maps("flood"), values=np.ones((1, 2), np.float32), tokens=np.array([1])),
            "What token 1 “flood” of the text was made from, model not stated",
        ),
        "segments": (uk.segment(named(maps)), "cat.png, toy"),
        "selection": (selection, "The object of the image picked by 1 point, toy, layer 2"),
        "summary": (s, f"{len(s.document_words)} words in 4: a summary, briefs"),
        "evidence": (ev, "What each word of a summary rests on, briefs, layer 1"),
        "perturbation": (curves, "1 token as patches go and come, layer 4"),
        "evaluation": (found, "Segments of 7 images of VOC against the truth, toy"),
    }


RESULTS = one_of_each()


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_has_a_page_whose_title_says_what_it_shows(name, tmp_path):
    result, title = RESULTS[name]
    page = written(result, tmp_path)
    reader = Reader(page)
    found = re.search(r"<title>(.*?)</title>", page)[1]
    assert title in found and f"<h1>{found}</h1>" in page
    assert not re.search(r"\w+\(.*\)", found)  # no repr
    assert len(page) < 3e6 and all(a.startswith("data:") for a in reader.addresses)
    assert "<img src=x" not in page and "<script>window.pwned" not in page and reader.handlers == []


@pytest.mark.browser
@pytest.mark.parametrize("name", ["selection", "summary", "perturbation", "evaluation"])
def test_a_page_without_a_view_is_read_in_the_dark_and_printed_whole(name, tmp_path, visit):
    page = visit(uk.export_html(RESULTS[name][0], tmp_path / "x.html"))
    read = "e => { const s = getComputedStyle(e); return [s.color, s.backgroundColor]; }"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ink, paper = page.locator("body").evaluate(read)
        light = [np.mean([int(n) for n in re.findall(r"\d+", c)[:3]]) for c in (ink, paper)]
        assert abs(light[0] - light[1]) > 150, (scheme, ink, paper)
        assert (light[1] > light[0]) == (scheme == "light")
    page.emulate_media(media="print")
    for picture in page.locator("img").all():
        assert picture.evaluate("e => getComputedStyle(e).breakInside") == "avoid"
        assert picture.evaluate("e => e.naturalWidth > 100 && e.clientWidth <= document.body.clientWidth")
    assert not page.evaluate("window.pwned")


@pytest.mark.browser
@pytest.mark.parametrize("name", ["intervention", "diagnosis"])
def test_no_number_of_a_table_goes_on_in_the_next_line(name, tmp_path, visit):
    page = visit(uk.export_html(RESULTS[name][0], tmp_path / "x.html"))
    page.set_viewport_size({"width": 400, "height": 800})
    lines = """cells => cells.map((cell) => { const range = document.createRange();
      range.selectNodeContents(cell); return new Set([...range.getClientRects()].map((r) => r.top)).size; })"""
    assert set(page.locator(".dataframe tbody td").evaluate_all(lines)) == {1}
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_like_of_a_word_has_a_page_too(tmp_path):
    lm = uk.load("briefs")
    caps = [uk.capture(lm, text) for text in ("The fire reached Selby.", "The flood reached Norby.")]
    page = uk.export_html(uk.atlas.similar(caps[0], 4, among=caps, layer=2, k=1), tmp_path / "x.html")
    assert "<td>Norby</td>" in page.read_text("utf-8")


def test_the_page_of_a_view_says_what_it_is_for(tmp_path):
    cap = uk.capture(uk.load("scenes", pretrained=False), uk.data.scene(0).image)
    maps = uk.explain(cap, layer=1, tokens=[30], score="norm")
    for view, title in (
        (uk.widgets.TokenExplorer(maps), "What each token of an image was made from"),
        (uk.widgets.SegmentExplorer(uk.segment(uk.baselines.rollout(cap))), "Segments of an image"),
    ):
        assert re.search(r"<h1>(.*?)</h1>", written(view, tmp_path))[1].startswith(title)
