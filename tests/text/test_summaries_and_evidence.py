"""Summaries and their evidence: positions, scores, words, masking; texts of every kind; figures and files."""

import copy
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from toys_models import loud_briefs

import ultra_kit as uk
from ultra_kit.text.words import split_sentences, split_words, with_tokens

DOCUMENT = (
    "The flood came on Monday. It damaged not 112 but 115 houses. Rain fell. Kemola Varin counted them."
)
SUMMARY = "The flood damaged 115 houses."


@pytest.fixture(scope="module")
def lm():
    return loud_briefs()


@pytest.fixture(scope="module")
def s(lm):
    return uk.summarize(lm, DOCUMENT, summary=SUMMARY)


@pytest.fixture(scope="module")
def seq2seq(lm):
    torch.manual_seed(0)
    config = tf.T5Config(
        vocab_size=len(lm.tokenizer),
        d_model=24,
        d_kv=6,
        d_ff=40,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=lm.tokenizer.pad_token_id,
        pad_token_id=lm.tokenizer.pad_token_id,
        eos_token_id=lm.tokenizer.eos_token_id,
    )
    module = tf.T5ForConditionalGeneration(config).eval()
    module.generation_config.suppress_tokens = (
        lm.tokenizer.all_special_ids
    )  # random weights like to stop at once
    return uk.load(module, transform=lm.tokenizer)


@pytest.fixture(scope="module")
def bytes_lm():
    """A GPT-2 whose tokenizer has neither BOS nor pad token and cuts characters into bytes."""
    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    own.train_from_iterator(
        [DOCUMENT] * 3,
        trainers.BpeTrainer(
            vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        ),
    )
    torch.manual_seed(0)
    config = tf.GPT2Config(
        vocab_size=own.get_vocab_size(),
        n_positions=256,
        n_embd=24,
        n_layer=2,
        n_head=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    return uk.load(
        tf.GPT2LMHeadModel(config).eval(), transform=tf.PreTrainedTokenizerFast(tokenizer_object=own)
    )


def ids_of(s):
    return s.capture.inputs["input_ids"]


# --- positions: the classic error is to be off by one ---------------------------------------------------


def test_the_document_and_the_summary_lie_where_the_words_say(s, lm):
    ids = ids_of(s)[0].tolist()
    assert ids[0] == lm.tokenizer.bos_token_id and ids[s.span[0] - 1] == lm.tokenizer.sep_token_id
    assert s.span[1] == len(ids)
    for words, at in ((s.document_words, "document"), (s.words, "summary")):
        for w in words:
            assert lm.tokenizer.decode([ids[p] for p in w.tokens]) == w.text, at
    assert [w.text for w in s.words] == ["The", "flood", "damaged", "115", "houses", "."]
    assert len(s.words[3].tokens) == 2  # a number and a digit
    np.testing.assert_array_equal(s.positions(3, at="holds"), s.words[3].tokens)
    np.testing.assert_array_equal(s.positions(3), np.array(s.words[3].tokens) - 1)
    np.testing.assert_array_equal(s.sinks, [0, s.span[0] - 1])
    assert [s.document_words[a].text for a, _ in s.document_sentences] == ["The", "It", "Rain", "Kemola"]


def test_the_emitting_position_predicts_the_token(s, lm):
    with torch.no_grad():
        stock = lm.module(input_ids=ids_of(s)).logits[0].log_softmax(-1)
    ids = ids_of(s)[0].tolist()
    expected = [float(stock[p - 1, ids[p]]) for p in range(*s.span)]
    np.testing.assert_allclose(s.log_probabilities, expected, rtol=0, atol=1e-5)


def test_the_models_own_greedy_words_are_the_likeliest(lm):
    s = uk.summarize(lm, DOCUMENT, max_new_tokens=5)
    assert s.written_by == "model" and 1 <= len(s.token_ids) <= 5
    with torch.no_grad():
        stock = lm.module(input_ids=ids_of(s)).logits[0]
    assert stock[s.span[0] - 1 : s.span[1] - 1].argmax(-1).tolist() == list(s.token_ids)


def test_beams_are_kept_by_their_whole_probability(lm):
    s = uk.summarize(lm, DOCUMENT, max_new_tokens=3, num_beams=3)
    start = ids_of(s)[0, : s.span[0]].tolist()
    beams = [(0.0, ())]
    for _ in range(3):
        grown = []
        for total, said in beams:
            with torch.no_grad():
                each = lm.module(input_ids=torch.tensor([[*start, *said]])).logits[0, -1].log_softmax(-1)
            grown += [(total + float(each[t]), (*said, int(t))) for t in each.topk(3).indices]
        beams = sorted(grown, reverse=True)[:3]
    assert (
        lm.tokenizer.eos_token_id not in beams[0][1]
    )  # a beam that ends early would be weighed by its length
    assert s.token_ids == beams[0][1]


def test_a_summary_that_was_cut_says_so(lm, monkeypatch):
    cut = uk.summarize(lm, DOCUMENT, max_new_tokens=4)
    assert cut.cut and "written by the model, cut after 4 tokens" in repr(cut)
    ev = uk.evidence(cut, layer=1, progress=False)
    assert (
        ev.cut
        and repr(ev).endswith(", own score and rule, summary cut)")
        and ev.card["summary"]["cut"] is True
    )
    assert not uk.summarize(lm, DOCUMENT, summary=SUMMARY).cut
    third = cut.token_ids[2]
    assert third not in cut.token_ids[:2]
    monkeypatch.setattr(lm.module.generation_config, "eos_token_id", third)
    ending = copy.copy(lm.tokenizer)
    ending.eos_token = lm.tokenizer.convert_ids_to_tokens(third)
    whole = uk.summarize(replace(lm, tokenizer=ending), DOCUMENT, max_new_tokens=4)
    assert not whole.cut and whole.token_ids == cut.token_ids[:2]


def test_a_penalty_is_on_what_the_summary_says_again(bytes_lm):
    from ultra_kit.text.tokenizing import generate

    ids = bytes_lm.tokenizer("flood")["input_ids"]
    plain, _ = generate(bytes_lm, ids, 12, 1)
    hard, _ = generate(bytes_lm, ids, 12, 1, 50.0)
    assert len(set(plain)) < 12 == len(set(hard))
    assert hard[0] == plain[0] and plain[0] in ids  # what was given may be said
    for bad in (0.5, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="repetition_penalty must be at least 1"):
            uk.summarize(bytes_lm, DOCUMENT, repetition_penalty=bad)


def test_the_least_likely_word(s):
    logs = [sum(s.log_probabilities[p - s.span[0]] for p in w.tokens) for w in s.words]
    np.testing.assert_allclose(s.word_log_probabilities, logs, rtol=1e-6)


def test_encoder_and_decoder(seq2seq):
    s = uk.summarize(seq2seq, DOCUMENT, summary=SUMMARY)
    inputs = {k: v for k, v in s.capture.inputs.items()}
    n = inputs["input_ids"].shape[1]
    assert s.span == (n + 1, n + 1 + len(s.token_ids))
    labels = torch.tensor([s.token_ids])
    with torch.no_grad():
        loss = seq2seq.module(input_ids=inputs["input_ids"], labels=labels).loss
    assert float(loss) == pytest.approx(-s.log_probabilities.mean(), abs=1e-4)
    ev = uk.evidence(s, score="logprob", words=[3], progress=False)
    assert ev.matrix.shape == (1, len(s.document_words)) and ev.matrix.max() > 0
    assert set(uk.sufficiency(s, ev, n_random=1).means) == {"evidence", "raw_attention", "recency", "random"}
    assert uk.summarize(seq2seq, DOCUMENT, max_new_tokens=3).written_by == "model"


# --- evidence ------------------------------------------------------------------------------------------


def test_words_are_sums_of_their_tokens(s):
    ev = uk.evidence(s, layer=3, score="norm", at="holds", progress=False)
    for row, word in enumerate(s.words):
        maps = uk.explain(s.capture, layer=3, tokens=list(word.tokens), score="norm", progress=False).values
        expected = [sum(maps[:, p].sum() for p in w.tokens) for w in s.document_words]
        np.testing.assert_allclose(ev.matrix[row], expected, rtol=1e-5)
    sentences = [[ev.matrix[i, a:b].sum() for a, b in s.document_sentences] for i in range(6)]
    np.testing.assert_allclose(ev.by_sentence, sentences, rtol=1e-5)
    each = sentences / ev.matrix.sum(1, keepdims=True)  # every word counts alike
    np.testing.assert_allclose(ev.sentence_matrix, [each.sum(0)], rtol=1e-5)


def test_shares_tell_where_the_mass_lies(s):
    ev = uk.evidence(s, words=[4], progress=False)
    (place,) = s.positions(4)
    values = uk.explain(s.capture, tokens=[int(place)], progress=False).values[0].astype(float)
    values[place] = 0
    a, b = s.document_span
    np.testing.assert_allclose(ev.shares["document"], values[a:b].sum() / values.sum(), rtol=1e-5)
    np.testing.assert_allclose(
        ev.shares["sinks"], (values[0] + values[s.span[0] - 1]) / values.sum(), rtol=1e-5
    )
    np.testing.assert_allclose(sum(ev.shares.values()), 1, rtol=1e-6)
    assert ev.shares["prompt"] == 0 and ev.shares["summary"] > 0


def nudged(lm, s, layer, position, step):
    """Log-probability of the token after `position` when that position's latent of a layer is moved."""

    def move(module, args, out):
        out = out.clone()
        out[0, position] += step
        return out

    handle = lm.module.model.layers[layer - 1].register_forward_hook(move)
    try:
        with torch.no_grad():
            logits = lm.module(input_ids=ids_of(s)).logits[0, position]
    finally:
        handle.remove()
    return logits


@pytest.mark.parametrize("layer", [2, 5])
def test_logprob_follows_the_emitted_token_through_the_blocks_above(s, lm, layer):
    from ultra_kit.maps.scores import emitted_upstream

    place = s.positions(4)
    token = ids_of(s)[0, place[0] + 1]
    # Not smaller: the norms of the library work in float32, so that tiny steps drown in rounding.
    direction = torch.randn(lm.module.config.hidden_size, dtype=torch.float64) * 3e-3
    up, down = (nudged(lm, s, layer, int(place[0]), d) for d in (direction, -direction))
    slope = (up.log_softmax(-1) - down.log_softmax(-1))[token] / 2
    upstream = emitted_upstream(s.capture, layer, place)
    assert float(upstream[0] @ direction) == pytest.approx(float(slope), rel=1e-2)
    other = 7
    upstream = emitted_upstream(s.capture, layer, place, other)
    slope = ((up - down)[token] - (up - down)[other]) / 2
    assert float(upstream[0] @ direction) == pytest.approx(float(slope), rel=1e-2)
    ev = uk.evidence(s, layer=layer, score="logprob", words=[4], progress=False)
    maps = uk.explain(
        s.capture,
        layer=layer,
        tokens=place,
        towards=emitted_upstream(s.capture, layer, place),
        progress=False,
    )
    np.testing.assert_allclose(ev.matrix[0], [maps.values[0, list(w.tokens)].sum() for w in s.document_words])


def test_contrast_asks_at_the_first_token_that_differs(s):
    ev = uk.evidence(s, layer=5, words=3, contrast="112", progress=False)
    assert ev.contrast == "112" and ev.matrix.shape[0] == 1  # "11" is common, "##5" and "##2" differ
    _, second = s.words[3].tokens
    alone = uk.explain(
        s.capture,
        layer=5,
        tokens=[second - 1],
        towards=_difference(s, second, "##2"),
        progress=False,
    ).values
    expected = [alone[0, list(w.tokens)].sum() for w in s.document_words]
    np.testing.assert_allclose(ev.matrix[0], expected, rtol=1e-5)
    with pytest.raises(ValueError, match="contrast must differ from '115' in a token"):
        uk.evidence(s, score="logprob", words=3, contrast="115")
    with pytest.raises(ValueError, match="contrast needs score='logprob' and one word"):
        uk.evidence(s, words=3, contrast="112", score="norm")


def test_contrast_of_words_of_several_tokens(bytes_lm):
    """A number begins with a space that is a token of its own: the numbers after it must tell, each in its own text."""
    made = {"prompt": "{document}\n\n"}
    s = uk.summarize(bytes_lm, DOCUMENT, summary="The flood damaged 97 houses.", **made)
    ids, tokenizer = ids_of(s)[0].tolist(), bytes_lm.tokenizer
    at = [w.text for w in s.words].index("97")
    first, last = s.words[at].tokens
    assert [tokenizer.decode([ids[p]]) for p in (first - 1, first, last)] == [" ", "9", "7"]

    how = {"layer": 2, "progress": False}

    def words_of(*rows):
        return [sum(row[list(w.tokens)].sum() for row in rows) for w in s.document_words]

    def at_fork(position, other):
        z = s.capture.latents[-1][position - 1].detach().clone().requires_grad_()
        logits = bytes_lm.module.lm_head(bytes_lm.module.transformer.ln_f(z))
        (g,) = torch.autograd.grad(logits[ids[position]] - logits[other], z)
        return uk.explain(s.capture, tokens=[position - 1], towards=g, **how).values[0]

    (eight,) = tokenizer("8")["input_ids"]
    found = uk.evidence(s, words=at, contrast="98", **how)
    np.testing.assert_allclose(found.matrix[0], words_of(at_fork(last, eight)), rtol=1e-4)

    # " flood" against " 97": the space, then what lowers 9 and 7 in a text that says so.
    flood = s.words[1].tokens[0]
    other = uk.summarize(bytes_lm, DOCUMENT, summary="The 97", **made)
    assert ids_of(other)[0, :flood].tolist() == ids[:flood]
    rest = uk.explain(
        other.capture, tokens=[flood, flood + 1], score="logprob", rule="negative", **how
    ).values.sum(0)
    parts = [at_fork(flood, ids[first - 1]), rest]
    for p in s.words[1].tokens[1:]:
        parts.append(uk.explain(s.capture, tokens=[p - 1], score="logprob", **how).values[0])
    expected = words_of(*parts)
    mine = uk.evidence(s, words=1, contrast="97", **how).matrix[0]
    np.testing.assert_allclose(mine, expected, rtol=1e-4)
    assert not np.allclose(mine, uk.evidence(s, words=1, contrast="98", **how).matrix[0], rtol=1e-3)
    assert uk.evidence(s, words=1, contrast="97", rule="negative", **how).rule == "negative"


def test_a_word_of_many_tokens_does_not_win_a_likeness(bytes_lm):
    s = uk.summarize(bytes_lm, "A zqxjkvwzqxjkvw flood, a FLOOD.", summary="Zug flood")
    sizes = [len(w.tokens) for w in s.document_words]
    assert max(sizes) > 10
    cosine = uk.baselines.cosine(s.capture, layer=1).values
    ev = uk.evidence(s, layer=1, at="holds", method="cosine")
    first = s.capture.layout.n_prefix
    for row, word in enumerate(s.words):
        pairs = [cosine[np.array(word.tokens) - first][:, list(w.tokens)] for w in s.document_words]
        np.testing.assert_allclose(ev.matrix[row], [p.mean() for p in pairs], rtol=1e-5)
    noise = uk.evidence(s, method="random_map").matrix
    assert noise.max() <= 1
    found = uk.evidence(s, method="string_search").matrix
    np.testing.assert_array_equal(found, [[0] * 7, [0, 0, 1, 0, 0, 1, 0]])


def test_a_model_that_writes_is_asked_why_it_wrote(bytes_lm, lm, s):
    """Unknown causal models: logprob in the upper fifth of their layers; bundled ones: what was chosen; card and repr say it."""
    assert uk.types.Settings.of(bytes_lm) == uk.types.Settings(layer=-1, score="logprob")
    deep = tf.GPT2LMHeadModel(tf.GPT2Config(n_layer=10, n_embd=8, n_head=1, vocab_size=9))
    assert uk.load(deep).settings.layer == -3
    assert uk.load(deep.transformer).settings == uk.types.Settings()  # no head: it writes nothing
    ev = uk.evidence(s, words=[4], progress=False)
    same = uk.evidence(s, words=[4], layer=3, score="logprob", rule="positive", progress=False)
    np.testing.assert_array_equal(ev.matrix, same.matrix)
    assert repr(ev).endswith("layer 3, ultra, logprob, positive, emits, own layer and score and rule)")
    assert "own" not in repr(same) and same.card["summary"]["own_settings"] == []
    assert "seeds 200000 to 200005" in ev.card["model"]["settings"]["chosen_on"]
    # The same through explain, where the last position emits what is likeliest there.
    maps = uk.explain(s.capture, tokens=[int(s.positions(4)[0]), s.span[1] - 1], progress=False)
    assert (maps.score, maps.layer) == ("logprob", 3)
    np.testing.assert_allclose(
        ev.matrix[0], [maps.values[0, list(w.tokens)].sum() for w in s.document_words], rtol=1e-6
    )
    with torch.no_grad():
        likeliest = int(lm.module(**s.capture.inputs).logits[0, -1].argmax())
    longer = {"input_ids": [*ids_of(s)[0].tolist(), likeliest]}
    known = uk.explain(uk.capture(lm, longer), tokens=[s.span[1] - 1], progress=False).values[0]
    np.testing.assert_allclose(maps.values[1], known[:-1], rtol=1e-4, atol=1e-12)
    encoder = tf.BertForMaskedLM(
        tf.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    ).eval()
    with pytest.raises(uk.UltraError, match="emit a token of a text"):
        uk.explain(uk.capture(encoder, {"input_ids": [1, 2, 3]}), score="logprob")


def test_a_sentence_is_not_ruled_by_one_word(s):
    ev = uk.evidence(s, layer=3, score="logprob", progress=False)
    loud = ev.matrix.copy()
    loud[1] *= 1000  # a word that the model was unsure of
    np.testing.assert_allclose(replace(ev, matrix=loud).sentence_matrix, ev.sentence_matrix, rtol=1e-5)
    assert replace(ev, matrix=loud).coverage().weak == ev.coverage().weak
    np.testing.assert_allclose(ev.row_shares.sum(1), 1, rtol=1e-5)


def _difference(s, position, other):
    """Gradient of logit(emitted) - logit(other) at the position before, from norm and head written out."""
    module = s.capture.model.module
    z = s.capture.latents[-1][position - 1].detach().clone().requires_grad_()
    logits = module.lm_head(module.model.norm(z))
    theirs = s.capture.model.tokenizer.convert_tokens_to_ids(other)
    mine = ids_of(s)[0, position]
    return torch.autograd.grad(logits[mine] - logits[theirs], z)[0]


def test_every_method_gives_evidence_in_the_same_form(s):
    from ultra_kit.text import EVIDENCE_METHODS

    for method in EVIDENCE_METHODS:
        options = {"n_steps": 2} if method == "integrated_gradients" else {}
        ev = uk.evidence(s, words=[3, 4], method=method, score="norm", **options)
        assert ev.matrix.shape == (2, len(s.document_words)) and np.isfinite(ev.matrix).all()
        assert (ev.matrix >= 0).all() and ev.method == method


def test_coverage_names_what_was_not_used():
    from ultra_kit.text.evidence_words import Evidence

    # Sentences 0 (words 0-1), 1 (2-3), 2 (4-5). The model was sure of x, so its map is small; z rests on other words.
    matrix = np.zeros((3, 6), np.float32)
    matrix[0, 0], matrix[1, 1], matrix[2, 4] = 1e-4, 4.0, 0.5
    ev = Evidence(
        matrix,
        np.arange(3),
        {"document": np.array([0.8, 0.8, 0.1])},
        tuple("abcdef"),
        ("x", "y", "z"),
        ((0, 2), (2, 4), (4, 6)),
        ((0, 3),),
        1,
        "ultra",
        "norm",
        "positive",
        "emits",
        None,
        "a b c d e f",
        "x y z",
    )
    found = ev.coverage()
    assert found.unused == (1,) and found.weak == (2,)  # 0.1 < a quarter of the median, 0.8
    assert ev.coverage(weak=0.1).weak == ()
    assert ev.top(2, 1) == [(4, "e", 0.5)]
    assert repr(found) == "Coverage(1 of 3 sentences unused, 1 of 3 words weak)"
    with pytest.raises(ValueError, match=r"one of the 3 explained ones \(.rows\), 0 to 2, got 7"):
        ev.row(7)


# --- faithfulness --------------------------------------------------------------------------------------


def slow_logprob(lm, s, removed):
    """Mean log-probability of the summary with words masked, by one call of the stock model."""
    mask = torch.ones_like(ids_of(s))
    for w in removed:
        mask[0, list(s.document_words[w].tokens)] = 0
    with torch.no_grad():
        logits = lm.module(input_ids=ids_of(s), attention_mask=mask).logits[0].log_softmax(-1)
    ids = ids_of(s)[0]
    return float(np.mean([float(logits[p - 1, ids[p]]) for p in range(*s.span)]))


def test_comprehensiveness_and_sufficiency_equal_a_slow_reference(s, lm):
    ev = uk.evidence(s, progress=False)
    share = ev.matrix / ev.matrix.sum(1, keepdims=True)
    order = sorted(range(len(s.document_words)), key=lambda w: -share[:, w].sum())
    n, full = len(order), slow_logprob(lm, s, [])
    comp = uk.comprehensiveness(s, ev, fractions=(0.1, 0.5), n_random=2)
    suff = uk.sufficiency(s, ev, fractions=(0.1, 0.5), n_random=2)
    assert comp.full == pytest.approx(full, abs=1e-5)
    for j, k in enumerate((-(-n // 10), -(-n // 2))):
        expected = full - slow_logprob(lm, s, order[:k])
        assert comp.curves["evidence"].iloc[j] == pytest.approx(expected, abs=1e-5)
        expected = full - slow_logprob(lm, s, order[k:])
        assert suff.curves["evidence"].iloc[j] == pytest.approx(expected, abs=1e-5)
        expected = full - slow_logprob(lm, s, range(n - k, n))
        assert comp.curves["recency"].iloc[j] == pytest.approx(expected, abs=1e-5)
    assert comp.means["evidence"] == pytest.approx(comp.curves["evidence"].mean())
    assert list(comp.means) == ["evidence", "raw_attention", "recency", "random"]
    one = uk.comprehensiveness(s, ev, word=4, fractions=(0.1,), n_random=1)
    assert one.full == pytest.approx(s.log_probabilities[s.words[4].tokens[0] - s.span[0]], abs=1e-5)


def test_all_words_kept_is_no_loss_and_position_0_is_never_masked(s, bytes_lm):
    ev = uk.evidence(s, progress=False)
    assert uk.sufficiency(s, ev, fractions=(1.0,)).means["evidence"] == pytest.approx(0, abs=1e-6)
    plain = uk.summarize(bytes_lm, DOCUMENT, summary=SUMMARY, prompt="{document}\n")
    assert plain.document_words[0].tokens[0] == 0  # no BOS before it
    found = uk.comprehensiveness(plain, uk.evidence(plain, progress=False), fractions=(1.0,))
    assert np.isfinite(found.curves).all(axis=None)


def test_faithfulness_refuses_what_does_not_fit(s, lm):
    ev = uk.evidence(s, words=[1], progress=False)
    other = uk.summarize(lm, DOCUMENT, summary="The houses.")
    with pytest.raises(ValueError, match="must be of this summary"):
        uk.comprehensiveness(other, ev)
    with pytest.raises(ValueError, match=r"fractions must lie in \(0, 1\]"):
        uk.sufficiency(s, ev, fractions=(0.0,))


# --- texts of every kind -------------------------------------------------------------------------------

TEXTS = {
    "right to left": "הבית נשרף ביום שני. أضر الفيضان بخمسة عشر منزلا.",
    "Chinese and Japanese": "洪水损坏了15座房屋。 火事は月曜日に起きた。",
    "emoji": "Fire 🔥 at the 👩‍🚒 station 🏠🏠 on Monday",
    "markup": "<script>alert(1)</script> <!-- $x^2 \\frac{ --> </s><sep><s> flood",
    "accents and Hindi": "Une fe\u0302te à Nîmes; नमस्ते दुनिया",
    "one word": "flood",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("which", ["lm", "bytes_lm"])
def test_texts_of_every_kind(name, which, request):
    model, text = request.getfixturevalue(which), TEXTS[name]
    s = uk.summarize(model, text, summary="Zug zwang 99!")  # not one token in common with most of them
    assert "".join(w.text for w in s.document_words) == "".join(c for c in text if not c.isspace())
    special = set(model.tokenizer.all_special_ids) - {model.tokenizer.unk_token_id}
    ids = ids_of(s)[0].tolist()
    assert not special & set(ids[slice(*s.document_span)])  # what is written is no command
    owned = [p for w in s.document_words for p in w.tokens]
    assert owned == sorted(set(owned)) and set(owned) <= set(range(*s.document_span))
    ev = uk.evidence(s, layer=1, words=[0], progress=False)
    total = uk.explain(s.capture, layer=1, tokens=s.positions(0), progress=False).values
    np.testing.assert_allclose(ev.matrix.sum(), total[:, owned].sum(), rtol=1e-4)
    figure = uk.plots.show_evidence(ev)
    figure.canvas.draw()
    drawn = [t.get_text() for t in figure.axes[0].texts]
    assert drawn == [w.text for w in s.document_words]
    assert not any(
        t.get_parse_math() for ax in figure.axes[:2] for t in (*ax.texts, ax.title) if "$" in t.get_text()
    )


def test_a_tokenizer_without_bos_and_pad_writes_too(bytes_lm):
    ids = bytes_lm.tokenizer("flood")["input_ids"]
    from ultra_kit.text.tokenizing import generate

    new, cut = generate(bytes_lm, ids, 4, 1)
    assert len(new) == 4 and cut  # whatever bytes random weights write
    given = uk.summarize(bytes_lm, DOCUMENT, summary=SUMMARY)
    assert given.text == f" {SUMMARY}"  # the space before a word is part of its token
    assert [w.text for w in given.words] == ["The", "flood", "damaged", "115", "houses", "."]
    assert not len(given.sinks)


def test_a_chat_template_is_used_where_there_is_one(lm):
    model = copy.copy(lm.tokenizer)
    model.chat_template = "{% for m in messages %}<s>{{ m['content'] }}{% endfor %}<sep>"
    chat = uk.load(lm.module, transform=model)
    s = uk.summarize(chat, DOCUMENT, summary=SUMMARY)
    ids = ids_of(s)[0].tolist()
    assert ids.count(lm.tokenizer.bos_token_id) == 1 and "Summarize" in s.capture.input
    assert ids[s.span[0] - 1] == lm.tokenizer.sep_token_id
    with pytest.raises(ValueError, match="has no chat template"):
        uk.summarize(lm, DOCUMENT, summary=SUMMARY, chat=True)


@pytest.mark.parametrize(
    ("document", "options", "error", "message"),
    [
        ("", {}, ValueError, "document must hold at least one word, got ''"),
        ("   \n", {}, ValueError, "document must hold at least one word"),
        ("?!... --- ", {}, ValueError, "document must hold at least one word"),
        ("word " * 100_000, {}, ValueError, "has positions for 512 tokens, the text has"),
        (None, {}, TypeError, "document must be a str, got NoneType"),
        (DOCUMENT, {"summary": " "}, ValueError, "summary must hold at least one word"),
        (DOCUMENT, {"summary": "word " * 500}, ValueError, "has positions for 512 tokens"),
        (DOCUMENT, {"prompt": "Sum up."}, ValueError, "prompt must hold {document} once"),
        (DOCUMENT, {"max_new_tokens": 0}, ValueError, "max_new_tokens must be at least 1"),
        (DOCUMENT, {"num_beams": 1.5}, TypeError, "num_beams must be an int, at least 1"),
    ],
)
def test_bad_texts(lm, document, options, error, message):
    with pytest.raises(error, match=message):
        uk.summarize(lm, document, **options)


def test_bad_models_and_words(lm, s):
    with pytest.raises(TypeError, match="needs a fast tokenizer"):
        uk.summarize(uk.load(lm.module), DOCUMENT)
    encoder = tf.BertModel(tf.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    with pytest.raises(TypeError, match="is of kind 'encoder'"):
        uk.summarize(encoder, DOCUMENT)
    with pytest.raises(ValueError, match=r"words must be in 0\.\.5, got 6"):
        uk.evidence(s, words=6)
    with pytest.raises(ValueError, match="method must be one of ultra, "):
        uk.evidence(s, method="lime")
    with pytest.raises(ValueError, match="at must be 'emits'"):
        uk.evidence(s, score="logprob", at="holds")
    with pytest.raises(ValueError, match="score must be one of"):
        uk.evidence(s, score="loud")


# --- words ---------------------------------------------------------------------------------------------


def test_words_and_sentences():
    text = "First, i.e. at 3.5 km, J. Doe left... Really?! (Yes.) 火事だ。逃げろ！"
    words = split_words(text)
    assert all(text[w.start : w.end] == w.text for w in words)
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))
    bounds = split_sentences(words, text)
    said = [text[words[a].start : words[b - 1].end] for a, b in bounds]
    assert said == ["First, i.e. at 3.5 km, J. Doe left...", "Really?!", "(Yes.)", "火事だ。", "逃げろ！"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("می\u200cخواهم", ["می\u200cخواهم"]),  # a joiner that does not join holds a Persian word together
        ("naïve cafe\u0301s", ["naïve", "cafe\u0301s"]),
        ("नमस्ते", ["नमस्ते"]),
        ("👩🏽\u200d🚒ok", ["👩🏽\u200d🚒", "ok"]),
        ("rock-'n'-roll x- -y", ["rock", "-", "'", "n", "'", "-", "roll", "x", "-", "-", "y"]),
        ("3.5km 1,000.25, v2.0", ["3.5km", "1,000.25", ",", "v2.0"]),
        ("15座か゛", ["15", "座", "か", "゛"]),
        ("か\u3099x", ["か\u3099", "x"]),
        ("a\u00a0b\tc\x07d", ["a", "b", "c", "d"]),
        ("", []),
    ],
)
def test_words_of_many_scripts(text, words):
    assert [w.text for w in split_words(text)] == words
    assert all(text[w.start : w.end] == w.text for w in split_words(text))


def test_a_token_over_two_words_goes_to_the_longer_part():
    words = split_words("ab, cde")
    assert [w.tokens for w in with_tokens(words, [(0, 1), (1, 4), (4, 7)])] == [(0, 1), (), (2,)]


# --- files, figures, command line ----------------------------------------------------------------------


def test_evidence_is_stored_and_read_back(s, tmp_path):
    ev = uk.evidence(s, words=[1, 3], progress=False)
    back = uk.open(uk.save(ev, tmp_path / "ev.npz"))
    np.testing.assert_array_equal(back.matrix, ev.matrix)
    assert back.words == ev.words and back.shares.keys() == ev.shares.keys() and back.card == dict(ev.card)


def test_figures_of_layers_and_sentences(s):
    several = [uk.evidence(s, layer=k, words=[3, 4], progress=False) for k in (1, 3, 5)]
    figure = uk.plots.layer_words(several, 4, n=6)
    assert figure.axes[0].images[0].get_array().shape == (3, 6)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array().max(1), 1)
    matrix = uk.plots.sentence_matrix(several[0]).axes[0].images[0].get_array()
    assert matrix.shape == (1, 4)
    np.testing.assert_allclose(matrix.sum(1), 1, rtol=1e-5)


def columns_of(figure):
    return {t.get_text(): t.get_position() for t in figure.axes[0].texts}


def test_lines_of_the_drawn_document(lm):
    long = "z" * 50
    s = uk.summarize(lm, f"Abc defg hijklm, {long} no.", summary="no")
    at = columns_of(uk.plots.show_evidence(uk.evidence(s, layer=1, progress=False), columns=15))
    assert at["defg"] == (4, 0.52) and at["hijklm"] == (9, 0.52)
    assert at[","] == (15, 0.52)  # hangs over the edge of a full line
    assert at["z" * 14 + "…"] == (0, 1.52) and at["no"] == (0, 2.52)


def test_a_text_that_runs_to_the_left_starts_at_the_right(lm):
    s = uk.summarize(lm, "שלום עולם", summary="no")
    at = columns_of(uk.plots.show_evidence(uk.evidence(s, layer=1, progress=False), columns=30))
    assert at["שלום"][0] == 30 - 4 and at["עולם"][0] == 30 - 9


def test_the_command_line_summarises_a_file(bytes_lm, tmp_path):
    from typer.testing import CliRunner

    from ultra_kit.__main__ import app

    bytes_lm.module.save_pretrained(tmp_path / "model")
    bytes_lm.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "report.txt").write_text(DOCUMENT, "utf-8")
    (tmp_path / "empty.txt").write_text("", "utf-8")
    (tmp_path / "own.txt").write_text(SUMMARY, "utf-8")
    command = ["summarize", str(tmp_path / "report.txt"), str(tmp_path / "empty.txt")]
    command += ["--model", f"hf:{tmp_path / 'model'}", "--summary", str(tmp_path / "own.txt")]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert done.exit_code == 1 and "document must hold at least one word" in done.output
    written = json.loads((tmp_path / "out" / "report-summary.json").read_text("utf-8"))
    assert written["summary"].strip() == SUMMARY and len(written["words"]) == 6
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".json", ".npz", ".png"}


def test_the_bundled_weights_copy_facts_from_reports_without_other_events():
    easy = [uk.data.brief(seed, others=0) for seed in range(4)]

    model = uk.load("briefs")
    said = [uk.summarize(model, b.document, max_new_tokens=50).text for b in easy]
    found = [uk.data.facts_right(text, b.facts) for text, b in zip(said, easy, strict=True)]
    # Names are never the same twice: they can only have been copied.
    assert np.mean([list(row.values()) for row in found]) >= 0.5
