"""Writes families.json: the tokens of transformers' AutoTokenizer for folders of every family of tokenizers.

    python make_families.py        # requires transformers, sentencepiece and protobuf; writes to its own folder

Each case contains the files of a folder, and the tokens and segment ids of single texts and pairs. Vocabularies are
trained on the texts below, which are invented; another run may train other ones. Generated with transformers 5.24.0,
tokenizers 0.23.3, sentencepiece 0.2.2.
"""

import io
import json
import pathlib
import tempfile

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

HERE = pathlib.Path(__file__).parent

NEWS = """The council voted 7-4 on Tuesday to close the old harbour bridge.
Storm warnings were issued for the coast, with gusts of up to 120 km/h.
The striker scored twice in the final; fans celebrated until 3 a.m.
Shares in the chipmaker fell 4.5% after it cut its forecast for 2027.
"We won't raise taxes," the minister said, "and we'll publish the figures."
Researchers at the university have found a new species of frog.
The museum reopens in May after a £12m renovation.
A train to York was cancelled; passengers waited for two hours.
Die Regierung hat am Mittwoch ein neues Gesetz über Mieten beschlossen.
Der Zug nach München fiel aus, weil Schnee auf den Gleisen lag.
Fußballer aus Köln gewinnen das Spiel mit 3:1 – größter Erfolg seit Jahren.
Die Bürgermeisterin eröffnete die Straße, die zwölf Jahre gesperrt war.
Le président a annoncé une réforme de l'école dès la rentrée.
La tempête a privé d'électricité 30 000 foyers près de Besançon.
L'équipe de Nîmes s'est imposée 2 à 1 après prolongation, déjà qualifiée.
Où sont passés les œufs ? Les agriculteurs s'inquiètent.
北京今天下雨，比赛推迟到明天。
上海的地铁新线开通了，市民很高兴。
東京で大雨、新幹線が止まった。
Moscow: Москва готовится к выборам мэра.
Η Αθήνα περιμένει νέα μέτρα ΣΟΦΟΣ.
दिल्ली में बारिश हुई।
القاهرة تستضيف القمة العربية.
서울에서 경기가 열렸다.
Emoji 😀🎉 in a headline 👩‍👩‍👧 and flags 🇩🇪🇫🇷 too.
Numbers: 1,234,567.89 and ½ and ² and Ⅳ and ① and 50°C.
Café, naïve, résumé, cœur, Ærøskøbing, İstanbul, ǅ, ß, ẞ.""".splitlines()

ODD = [
    "", " ", "   ", "\t\n", "a", " a", "a ", "  a  b  ", "a\tb\nc", "line one\r\nline two\r\n", "nul\0byte", "\0",
    "x" * 120 + " end", "the" * 60, "é" * 101, "<s>", "</s>", "<pad>", "<mask>", "<unk>", "a <mask> b", "a<mask>b", "the  <mask>  rain",
    "rain <pad> storm", "<s> a </s> b </s>", "[CLS] a [SEP] b [MASK]c [UNK] [PAD]", "<s>NOTUSED </s>NOTUSED <unk>NOTUSED",
    "non\u00a0breaking\u2003space\u3000wide", "zero\u200bwidth\ufeffmark\u00adsoft", "e\u0301 combining a\u0308", "ｆｕｌｌ　ｗｉｄｔｈ ﬁ ﬂ",
    "\ufffd replaced \ufffe", "tabs\x1cand\x1dfile\x1eseparators\x1f", "\x85next line\u2028separator\u2029paragraph", "\u00a8 \u00b4 \u2017",
    "I'm you're he'll they'd we've it's 'quoted' 'Tis", "http://example.org/a?b=c&d=%20#e", "C++ & C# @user #tag $5 <b>bold</b>",
    "...!!!???---", "▁ lower ▁one eighth▁", "Ġ byte Ċ letters âĢĻ", "##s ## s", "covid19 trade deal <url> a trade  deal", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🜁 𐍈",
    "中文English混合text北京", "CAPITALS ÀÉÎÕÜ ΣΑΣ İI", "㋿8年 令和8年",
]
SINGLE = NEWS + ODD
PAIRS = [
    (NEWS[0], NEWS[8]), (NEWS[12], "déjà vu"), ("", NEWS[1]), ("a", " "), (NEWS[24], NEWS[16]), ("rain <mask>", "<mask> rain"),
    (" leading", " second"), ("a </s>", "</s> b"), ("[SEP]", "[CLS] x"), ("a  b", "c\r\nd"), (NEWS[18], NEWS[23]),
    ("x" * 101, "y" * 101), ("<pad>", "<pad><pad>"), ("trade deal", "covid19s covid19"), ("\0", "a"), ("(a)", "'b'"),
]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NAMES = {"cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>",
         "eos_token": "</s>", "mask_token": "<mask>"}
MASK = {"content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}


def bpe_json():
    it = Tokenizer(models.BPE())
    it.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    it.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    it.train_from_iterator(NEWS * 3, trainers.BpeTrainer(vocab_size=560, special_tokens=SPECIAL[:4], initial_alphabet=alphabet, show_progress=False))
    it.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    it.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    return json.loads(it.to_str())


def wordpiece(lowercase):
    it = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    it.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    it.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=480, special_tokens=BERT, show_progress=False)
    it.train_from_iterator(NEWS * 3 + ["##s covid"], trainer)
    it.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    vocab = it.get_vocab()
    return json.loads(it.to_str()), sorted(vocab, key=vocab.get)


def rules():
    """Returns a small part of nmt_nfkc, the rules of XLM-R and CamemBERT, whose map is 300 kilobytes."""
    pairs = [(chr(c), chr(c - 0xFEE0)) for c in range(0xFF01, 0xFF5F)] + [(c, " ") for c in "\t\n\r\u00a0\u2003\u3000\u200b\ufeff"]
    pairs += [("e\u0301", "é"), ("a\u0308", "ä"), ("ﬁ", "fi"), ("ﬂ", "fl"), ("½", "1⁄2"), ("²", "2"), ("Ⅳ", "IV"), ("①", "1"), ("\u00a8", " \u0308"), ("\u00ad", "")]
    code = lambda text: " ".join(f"{ord(c):X}" for c in text)
    return "".join(f"{code(before)}\t{code(after)}\n" for before, after in pairs)


def sentencepiece_model(**options):
    """Returns the file of a Unigram model that SentencePiece trains, and its content."""
    import sentencepiece  # here, because compare.py needs it for random texts only
    from sentencepiece import sentencepiece_model_pb2 as proto

    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rules.tsv"
        path.write_text(rules())
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(NEWS * 3), model_writer=out, vocab_size=430, hard_vocab_limit=False,
            character_coverage=0.995, normalization_rule_tsv=str(path), minloglevel=2, unk_id=0, bos_id=1, eos_id=2, **options)
    model = proto.ModelProto()
    model.ParseFromString(out.getvalue())
    return out.getvalue().decode("latin-1"), model


def unigram_json(pieces, unknown, special, charsmap):
    it = Tokenizer(models.Unigram(pieces, unk_id=unknown))
    it.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.Replace(" {2,}", " ")])
    it.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    it.decoder = decoders.Metaspace()
    it.add_special_tokens(special)
    begin, end = it.token_to_id("<s>"), it.token_to_id("</s>")
    it.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", begin), ("</s>", end)])
    return json.loads(it.to_str())


def edited(value, **parts):
    """Returns a copy of a JSON object with other values for some keys."""
    return {**json.loads(json.dumps(value)), **parts}


def merges_txt(model):
    return "#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in model["merges"])


def decoder(tokens):
    base = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    return {str(i): {**base, "content": token, **flags} for i, (token, flags) in tokens.items()}


def roberta():
    full = bpe_json()
    model = full["model"]
    vocab = {**model["vocab"], "<mask>": len(model["vocab"])}
    n = len(vocab)
    files = {"vocab.json": vocab, "merges.txt": merges_txt(model)}
    config = {"config.json": {"model_type": "roberta"}}
    named = {"tokenizer_class": "RobertaTokenizer"}
    yield "RoBERTa", "class", {**config, "tokenizer.json": full, "tokenizer_config.json": named}
    yield "RoBERTa without a configuration", "class", {**config, "tokenizer.json": full}
    yield "RoBERTa, vocab.json", "class", {**config, **files}
    yield "RoBERTa, fast, vocab.json", "class", {**config, **files, "tokenizer_config.json": {"tokenizer_class": "RobertaTokenizerFast", "model_max_length": 512}}
    yield "RoBERTa, prefix space", "class", {**config, **files, "tokenizer_config.json": {**named, "add_prefix_space": True, "trim_offsets": False}}
    prefix = edited(full, pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True})
    yield "RoBERTa, prefix space only in tokenizer.json", "class", {**config, "tokenizer.json": prefix, "tokenizer_config.json": named}
    old = {**config, **files, "special_tokens_map.json": {**NAMES, "mask_token": MASK}, "tokenizer_config.json": {"do_lower_case": False, "max_len": 512}}
    yield "RoBERTa, special_tokens_map.json", "class", old
    yield "RoBERTa, mask without flags in the map", "class", {**old, "special_tokens_map.json": NAMES}
    more = {0: ("<s>", {}), 1: ("<pad>", {}), 2: ("</s>", {}), 3: ("<unk>", {}), n - 1: ("<mask>", {"lstrip": True}),
            n: ("covid19", {"special": False, "normalized": True, "single_word": True}), n + 1: ("<url>", {"rstrip": True})}
    yield "RoBERTa, added_tokens_decoder", "class", {**config, **files, "tokenizer_config.json": {**named, **NAMES, "added_tokens_decoder": decoder(more)}}
    yield "RoBERTa, added_tokens.json", "class", {**config, **files, "added_tokens.json": {"trade deal": n, "<url>": n + 1}}
    bare = {token: i for i, token in enumerate(token for token in vocab if token != "<mask>")}
    yield "RoBERTa, no mask in the vocabulary", "class", {**config, "vocab.json": bare, "merges.txt": files["merges.txt"]}
    parts = edited(full, normalizer={"type": "Lowercase"}, post_processor=None, pre_tokenizer={"type": "WhitespaceSplit"})
    parts["model"].update(unk_token="<unk>", dropout=None, ignore_merges=True)
    yield "RoBERTa, other parts", "class", {**config, "tokenizer.json": parts, "tokenizer_config.json": named}
    text = edited(full)
    text["model"]["merges"] = [" ".join(pair) for pair in model["merges"]]
    yield "RoBERTa, merges as text", "class", {**config, "tokenizer.json": text, "tokenizer_config.json": named}
    lost = edited(full)
    drop = {"Q", "q", "Ð", "Ã", "ð", "<unk>"}
    lost["model"]["merges"] = [pair for pair in model["merges"] if not any(set(part) & drop for part in pair)]
    keep = {token: i for token, i in model["vocab"].items() if not set(token) & drop or len(token) > 1 and token in SPECIAL}
    lost["model"]["vocab"] = keep
    yield "RoBERTa, missing bytes", "class", {**config, "tokenizer.json": lost, "tokenizer_config.json": named}
    yield "RoBERTa, special tokens split", "class", {**config, **files, "tokenizer_config.json": {**named, "split_special_tokens": True}}
    own = {"[CLS]": 0, "[PAD]": 1, "[SEP]": 2, "[UNK]": 3, **{token: i for token, i in vocab.items() if token not in SPECIAL[:4]}}
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]", "bos_token": "[CLS]", "eos_token": "[SEP]"}
    yield "RoBERTa, other names", "class", {**config, "vocab.json": own, "merges.txt": files["merges.txt"], "tokenizer_config.json": {**named, **names}}
    yield "RoBERTa, two vocabularies", "class", {**config, "tokenizer.json": full, "vocab.json": own, "merges.txt": files["merges.txt"]}
    yield "RoBERTa beside vocab.txt", "class", {**config, **files, "vocab.txt": "a\nb\n"}
    yield "RoBERTa, unchanged", "class", {**config, "tokenizer.json": full, "tokenizer_config.json": {**NAMES, "tokenizer_class": "PreTrainedTokenizerFast"}}
    yield "RoBERTa for a model without its type", "class", {"config.json": {"model_type": "bert"}, "tokenizer.json": full, "tokenizer_config.json": {**named, "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}}
    yield "RoBERTa, words", "pretokenized", {**config, "tokenizer.json": full, "tokenizer_config.json": {**named, "add_prefix_space": True}}


def unigram():
    file, model = sentencepiece_model()
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    charsmap = model.normalizer_spec.precompiled_charsmap
    mask = AddedToken("<mask>", lstrip=True)
    xlmr = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces[3:], ("<mask>", 0.0)]
    full = unigram_json(xlmr, 3, [*SPECIAL[:4], mask], charsmap)
    named = {"tokenizer_class": "XLMRobertaTokenizer"}
    config = {"config.json": {"model_type": "xlm-roberta"}}
    yield "XLM-R", "class", {**config, "tokenizer.json": full, "tokenizer_config.json": {**named, **NAMES}}
    yield "XLM-R without a configuration", "class", {**config, "tokenizer.json": full}
    yield "XLM-R for a BERT", "class", {"config.json": {"model_type": "bert"}, "tokenizer.json": full, "tokenizer_config.json": {**named, "special_tokens_map_file": "x"}, "special_tokens_map.json": {**NAMES, "mask_token": MASK}}
    yield "XLM-R, unchanged", "class", {**config, "tokenizer.json": full, "tokenizer_config.json": {**NAMES, "tokenizer_class": "PreTrainedTokenizerFast"}}
    yield "XLM-R, words", "pretokenized", {**config, "tokenizer.json": full}

    camembert = [("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0), ("<unk>NOTUSED", -100.0), *pieces[1:], ("<mask>", 0.0)]
    used = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>"]
    full = unigram_json(camembert, 3, [*used, mask], charsmap)
    named = {"tokenizer_class": "CamembertTokenizer"}
    config = {"config.json": {"model_type": "camembert"}}
    yield "CamemBERT", "class", {**config, "tokenizer.json": full, "tokenizer_config.json": {**named, **NAMES, "additional_special_tokens": used[:1] + used[2:3] + used[4:5]}}
    yield "CamemBERT without a configuration", "class", {**config, "tokenizer.json": full}
    yield "CamemBERT, fast", "class", {**config, "tokenizer.json": full, "tokenizer_config.json": {"tokenizer_class": "CamembertTokenizerFast"}}
    plain = unigram_json(camembert, 3, ["<pad>", "<unk>", "<s>", "</s>"], charsmap)
    yield "CamemBERT, no added tokens", "class", {**config, "tokenizer.json": plain, "tokenizer_config.json": named}
    yield "CamemBERT, mask in the map", "class", {**config, "tokenizer.json": plain, "special_tokens_map.json": NAMES}
    flags = {**NAMES, "mask_token": {**MASK, "lstrip": False, "rstrip": True}}
    yield "CamemBERT, mask with flags in the map", "class", {**config, "tokenizer.json": plain, "special_tokens_map.json": flags}
    yield "CamemBERT, no extra tokens", "class", {**config, "tokenizer.json": plain, "tokenizer_config.json": {**named, "extra_special_tokens": []}}
    yield "CamemBERT, other extra tokens", "class", {**config, "tokenizer.json": plain, "tokenizer_config.json": {**named, "additional_special_tokens": ["<url>"]}}
    yield "CamemBERT, extra tokens in the map", "class", {**config, "tokenizer.json": plain, "tokenizer_config.json": named, "special_tokens_map.json": {"additional_special_tokens": ["<url>", "</s>NOTUSED"]}}
    n = len(camembert)
    more = {1: ("<pad>", {}), 3: ("<unk>", {}), 5: ("<s>", {}), 6: ("</s>", {}), n - 1: ("<mask>", {"lstrip": True}), n: ("trade deal", {"special": False, "normalized": True})}
    yield "CamemBERT, added_tokens_decoder", "class", {**config, "tokenizer.json": full, "tokenizer_config.json": {**named, "added_tokens_decoder": decoder(more)}}
    moved = [*camembert[:3], *camembert[4:], ("<unk>", 0.0)]
    yield "CamemBERT, unknown token moved", "class", {**config, "tokenizer.json": unigram_json(moved, n - 1, [*used, mask], charsmap)}
    gone = [piece for piece in camembert if piece[0] != "<unk>"]
    yield "CamemBERT, no unknown token", "class", {**config, "tokenizer.json": unigram_json(gone, 3, [token for token in used if token != "<unk>"] + [mask], charsmap)}
    yield "CamemBERT, no prefix space", "class", {**config, "tokenizer.json": edited(full, normalizer=None), "tokenizer_config.json": {**named, "add_prefix_space": False}}
    yield "CamemBERT with XLM-R's class", "class", {**config, "tokenizer.json": full, "tokenizer_config.json": {"tokenizer_class": "XLMRobertaTokenizer"}}
    for family, xnamed in (("XLM-R", {"tokenizer_class": "XLMRobertaTokenizer"}), ("CamemBERT", named)):
        kind = {"config.json": {"model_type": {"XLM-R": "xlm-roberta"}.get(family, "camembert")}, "sentencepiece.bpe.model": file}
        yield f"{family}, sentencepiece.bpe.model", "class", {**kind, "tokenizer_config.json": xnamed}
        yield f"{family}, sentencepiece.bpe.model without a configuration", "class", kind
        yield f"{family}, sentencepiece.bpe.model, names", "class", {**kind, "tokenizer_config.json": {**xnamed, "additional_special_tokens": ["<url>"]}, "special_tokens_map.json": {**NAMES, "mask_token": MASK}}
    symbols, _ = sentencepiece_model(user_defined_symbols=["<url>", "covid19"], control_symbols=["<ctl>"])
    yield "XLM-R, symbols in sentencepiece.bpe.model", "class", {"config.json": {"model_type": "xlm-roberta"}, "sentencepiece.bpe.model": symbols}
    yield "CamemBERT, symbols in sentencepiece.bpe.model", "class", {**config, "sentencepiece.bpe.model": symbols}
    yield "CamemBERT, words", "pretokenized", {**config, "tokenizer.json": full, "tokenizer_config.json": named}


def bert():
    lower, lower_vocab = wordpiece(True)
    cased, cased_vocab = wordpiece(False)
    lower_txt, cased_txt = ["".join(token + "\n" for token in vocab) for vocab in (lower_vocab, cased_vocab)]
    distil, electra = [{"config.json": {"model_type": it}} for it in ("distilbert", "electra")]
    yield "DistilBERT without a class", "class", {**distil, "vocab.txt": lower_txt}
    yield "DistilBERT", "class", {**distil, "vocab.txt": lower_txt, "tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizer"}}
    yield "DistilBERT, cased", "class", {**distil, "tokenizer.json": cased, "tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizerFast", "do_lower_case": False}}
    yield "DistilBERT over a cased tokenizer.json", "class", {**distil, "tokenizer.json": cased, "tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizer"}}
    yield "ELECTRA without a class", "class", {**electra, "vocab.txt": lower_txt}
    yield "ELECTRA", "class", {**electra, "tokenizer.json": lower, "tokenizer_config.json": {"tokenizer_class": "ElectraTokenizerFast"}}
    yield "ELECTRA, German", "class", {**electra, "vocab.txt": cased_txt, "tokenizer_config.json": {"tokenizer_class": "ElectraTokenizer", "do_lower_case": False, "strip_accents": False}}
    yield "BERT, words", "pretokenized", {"config.json": {"model_type": "bert"}, "tokenizer.json": cased, "tokenizer_config.json": {"do_lower_case": False}, "added_tokens.json": {"trade deal": len(cased_vocab)}}
    yield "BERT unchanged, words", "pretokenized", {"config.json": {"model_type": "bert"}, "tokenizer.json": lower, "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}}

    japanese = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_dic": "unidic_lite"}}
    yield "Japanese", "pretokenized", {"config.json": {"model_type": "bert"}, "vocab.txt": cased_txt, "tokenizer_config.json": japanese}
    yield "Japanese, lower case", "pretokenized", {"config.json": {"model_type": "bert"}, "vocab.txt": lower_txt, "tokenizer_config.json": {**japanese, "do_lower_case": True}}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    yield "Japanese, segments", "pretokenized", {"config.json": {"model_type": "bert"}, "vocab.txt": cased_txt, "tokenizer_config.json": {**japanese, "model_input_names": inputs}}
    letters = BERT + sorted({c for text in NEWS for c in text if not c.isspace()})
    yield "Japanese, characters", "pretokenized", {"config.json": {"model_type": "bert", "tokenizer_class": "BertJapaneseTokenizer"}, "vocab.txt": "".join(c + "\n" for c in letters), "tokenizer_config.json": {"word_tokenizer_type": "mecab", "subword_tokenizer_type": "character"}}


class SpaceTokenizer:
    """Stands in for MeCab: the words of a text are between its spaces."""

    def __init__(self, tokenizer):
        self.lower = tokenizer.do_lower_case

    def tokenize(self, text, never_split=None, **_):
        return [word.lower() if self.lower and word not in never_split else word for word in text.split()]


def load(folder, config):
    if "mecab" not in config:
        return AutoTokenizer.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, do_word_tokenize=False)
    tokenizer.do_word_tokenize, tokenizer.word_tokenizer = True, SpaceTokenizer(tokenizer)
    return tokenizer


def encode(tokenizer, words, first, second):
    """Returns the ids and the place of the first segment 1. As in the tests, a second text without tokens is dropped."""
    split = words == "pretokenized"
    texts = [text.split() if split else text for text in (first, second) if text is not None]
    if split:
        texts = [text or [""] for text in texts]
    if second is not None and not tokenizer(texts[1], add_special_tokens=False, is_split_into_words=split)["input_ids"]:
        texts.pop()
    out = tokenizer(*texts, is_split_into_words=split)
    ids, segments = out["input_ids"], out.get("token_type_ids") or [0] * len(out["input_ids"])
    ones = segments.index(1) if 1 in segments else len(segments)
    assert segments == [0] * ones + [1] * (len(ids) - ones), segments
    return [ids, ones]


def folders():
    yield from roberta()
    yield from unigram()
    yield from bert()


def content(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write(folder, files):
    for file, text in files.items():
        # Each character of a .model stands for a byte.
        encoding = "latin-1" if file.endswith(".model") else "utf8"
        (pathlib.Path(folder) / file).write_bytes(text.encode(encoding))


def main():
    texts = [(text, None) for text in SINGLE] + PAIRS
    contents, lines = {}, []
    for name, words, files in folders():
        files = {file: content(value) for file, value in files.items()}
        with tempfile.TemporaryDirectory() as folder:
            write(folder, files)
            tokenizer = load(folder, files.get("tokenizer_config.json", ""))
            sequences = [encode(tokenizer, words, *pair) for pair in texts]
        files = {file: contents.setdefault(text, len(contents)) for file, text in files.items()}
        case = {"name": name, "words": words, "files": files, "sequences": sequences}
        lines.append(json.dumps(case, ensure_ascii=False, separators=(",", ":")))
    head = '{"texts":' + json.dumps(texts) + ',\n"contents":[\n' + ",\n".join(json.dumps(it, ensure_ascii=False) for it in contents)
    (HERE / "families.json").write_text(head + '],\n"folders":[\n' + ",\n".join(lines) + "\n]}\n", encoding="utf8")
    print(f"{len(lines)} folders, {len(texts)} texts each")


if __name__ == "__main__":
    main()
