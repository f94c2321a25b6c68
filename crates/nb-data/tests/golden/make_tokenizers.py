"""Writes tokenizers.json: the tokens that transformers' AutoTokenizer produces from texts, with folders of many kinds.

    python make_tokenizers.py      # requires transformers, sentencepiece and protobuf; writes to its own folder

Each case contains the files of a folder and the token ids and segment ids of texts and pairs, truncated to several
lengths. The function `tokens` of the model card, which calls transformers, assembles the sequences; its source is part
of the file. Generated with transformers 5.24.0, tokenizers 0.23.3, sentencepiece 0.2.2.
"""

import io
import json
import pathlib
import re
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

HERE = pathlib.Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "the a in of rain falls goal storm paris york cafe café news 雨 北 京 trade deal covid ##19 ##s num [ ] < > url".split()
VOCAB = SPECIAL + WORDS
CASED = VOCAB + ["Paris", "York", "The", "Rain", "Café", "NBA", "nba"]
CONFIG = {"model_type": "bert"}
TEXTS = [
    ("The Rain falls in Paris", None),
    ("a goal of NBA news", "Café York 北京 rain雨"),
    ("covid19 covid19s a [NUM] <url> Trade Deal trade deal", None),
    ("the storm", "covid19 [NUM] trade deal [SEP] news"),
    ("news [SEP] rain <s> a </s> <mask> [MASK]", None),
    ("rain", ""),
    ("rain", "\u200b\u00ad"),
    ("", None),
    ("", "storm"),
    ("the rain in york falls the rain in paris", "a storm of news"),
    ("x" * 105 + " rain", "goals  goals\tgoals"),
    ("ｃａｆｅ́ ﬁ Ⅳ ＮＢＡ", "ｎｅｗｓ"),
]
LENGTHS = [5, 6, 9, 12, 16, 64]


def bert_json(words, lowercase, **more):
    """Returns the content of a tokenizer.json, as the tokenizers library saves it."""
    model = models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]", **more.pop("model", {}))
    it = Tokenizer(model)
    it.normalizer = normalizers.BertNormalizer(lowercase=lowercase, **more.pop("normalizer", {}))
    it.pre_tokenizer = more.pop("pre_tokenizer", pre_tokenizers.BertPreTokenizer())
    it.post_processor = more.pop("post_processor", None) or processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    it.add_special_tokens(SPECIAL)
    it.add_tokens(more.pop("added", []))
    return it


def twice_separated(ones):
    pair = "[CLS] $A [SEP] [SEP] $B [SEP]" if not ones else "[CLS] $A [SEP] [SEP]:1 $B:1 [SEP]:1"
    return processors.TemplateProcessing(single="[CLS] $A [SEP]", pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)])


def charsmap():
    """Returns a small precompiled character map, as SentencePiece writes it."""
    rules = "\n".join(f"{from_:X}\t{ord(to):X}" for from_, to in zip(range(0xFF41, 0xFF5B), "abcdefghijklmnopqrstuvwxyz"))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rules.tsv"
        path.write_text(rules + "\n")
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the rain in paris", "a storm of news"]), model_writer=out, vocab_size=20,
            normalization_rule_tsv=str(path), hard_vocab_limit=False, minloglevel=2,
        )
    model = proto.ModelProto()
    model.ParseFromString(out.getvalue())
    return model.normalizer_spec.precompiled_charsmap


def xlmr_json(normalizer=None, pre_tokenizer=None):
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [("▁" + word, -3.0) for word in ["the", "a", "rain", "storm", "news", "paris", "goal", "Paris"]]
    pieces += [(c, -6.0) for c in "abcdefghijklmnopqrstuvwxyzäöéＮ<>/[]19"]
    it = Tokenizer(models.Unigram(pieces, unk_id=3))
    if normalizer is not None:
        it.normalizer = normalizer
    it.pre_tokenizer = pre_tokenizer or pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    it.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)])
    it.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return it


XNAMES = {"cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>",
          "eos_token": "</s>", "mask_token": "<mask>"}
NAMES = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": "[MASK]"}


def added(first):
    return {"covid19": first, "[NUM]": first + 1, "trade deal": first + 2, "<url>": first + 3}


def decoder(first):
    flags = {"covid19": dict(single_word=True), "[NUM]": dict(special=True, normalized=False), "trade deal": dict(lstrip=True),
             "<url>": dict(rstrip=True, normalized=False)}
    base = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": True, "special": False}
    return {str(i): {"content": token, **base, **flags[token]} for token, i in added(first).items()}


def folders():
    """Yields names and files: a dict is written as JSON, a Tokenizer as tokenizer.json, a list as lines."""
    n = len(VOCAB)
    fast = {"tokenizer_class": "PreTrainedTokenizerFast", **NAMES}
    yield "vocabulary alone", {"vocab.txt": VOCAB}
    yield "vocabulary alone, with capitals", {"vocab.txt": CASED}
    yield "Chinese vocabulary", {"vocab.txt": VOCAB + ["<S>", "<T>", "nba"]}
    yield "silent configuration", {"vocab.txt": CASED, "tokenizer_config.json": {"model_max_length": 512}}
    yield "cased", {"vocab.txt": CASED, "tokenizer_config.json": {"do_lower_case": False}}
    yield "cased without accents", {"vocab.txt": CASED, "tokenizer_config.json": {"do_lower_case": False, "strip_accents": True}}
    yield "lower case with accents", {"vocab.txt": CASED, "tokenizer_config.json": {"strip_accents": False}}
    yield "Chinese words kept", {"vocab.txt": CASED + ["北京"], "tokenizer_config.json": {"tokenize_chinese_chars": False}}
    yield "repeated line", {"vocab.txt": VOCAB + ["rain", "", "falls "]}
    cased = bert_json(CASED, False)
    yield "tokenizer.json alone", {"tokenizer.json": cased}
    yield "BertTokenizer over a cased tokenizer.json", {"tokenizer.json": cased, "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}}
    yield "BertTokenizerFast, cased", {"tokenizer.json": bert_json(CASED, True), "tokenizer_config.json": {"tokenizer_class": "BertTokenizerFast", "do_lower_case": False}}
    yield "DistilBertTokenizer", {"tokenizer.json": cased, "tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizerFast"}}
    yield "ElectraTokenizer", {"vocab.txt": VOCAB, "tokenizer_config.json": {"tokenizer_class": "ElectraTokenizer"}}
    yield "class in config.json", {"tokenizer.json": cased, "config.json": {**CONFIG, "tokenizer_class": "PreTrainedTokenizerFast"}}
    yield "a model without a type", {"tokenizer.json": cased, "config.json": {"vocab_size": 99}}
    yield "code for the model alone", {"tokenizer.json": cased, "tokenizer_config.json": {"auto_map": {"AutoModel": "a.B"}}}
    yield "code beside a known class", {"tokenizer.json": cased, "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "auto_map": {"AutoTokenizer": ["a.B", None]}}}
    yield "tokenizer.json as it is", {"tokenizer.json": cased, "tokenizer_config.json": {**fast, "do_lower_case": True}}
    yield "two vocabularies", {"tokenizer.json": cased, "vocab.txt": VOCAB[::-1]}
    odd = bert_json(CASED, False, model=dict(max_input_chars_per_word=4, continuing_subword_prefix="@"),
                    normalizer=dict(strip_accents=True, clean_text=False), pre_tokenizer=pre_tokenizers.WhitespaceSplit(),
                    post_processor=twice_separated(True))
    yield "unusual parts as they are", {"tokenizer.json": odd, "tokenizer_config.json": fast}
    yield "unusual parts under BertTokenizer", {"tokenizer.json": odd, "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}}
    yield "added_tokens.json", {"vocab.txt": VOCAB, "added_tokens.json": added(n)}
    yield "added_tokens.json, some special", {"vocab.txt": VOCAB, "added_tokens.json": added(n), "special_tokens_map.json": {**NAMES, "additional_special_tokens": ["[NUM]"]}}
    yield "added_tokens.json, extra special", {"vocab.txt": VOCAB, "added_tokens.json": added(n), "tokenizer_config.json": {"extra_special_tokens": ["<url>", "deal"]}}
    yield "added_tokens.json beside tokenizer.json", {"tokenizer.json": bert_json(VOCAB, True), "added_tokens.json": added(n)}
    yield "ids with a gap", {"vocab.txt": VOCAB, "added_tokens.json": added(n + 5)}
    yield "added_tokens_decoder", {"vocab.txt": VOCAB, "tokenizer_config.json": {"added_tokens_decoder": decoder(n)}}
    more = bert_json(VOCAB, True, added=["goal of", AddedToken("news", single_word=True)])
    yield "added_tokens_decoder before tokenizer.json", {"tokenizer.json": more, "tokenizer_config.json": {"added_tokens_decoder": decoder(n)}}
    yield "added in tokenizer.json", {"tokenizer.json": more, "tokenizer_config.json": {}}
    yield "added in tokenizer.json, as it is", {"tokenizer.json": more, "tokenizer_config.json": fast}
    yield "added_tokens_decoder, as it is", {"tokenizer.json": more, "tokenizer_config.json": {**fast, "added_tokens_decoder": decoder(n + 1)}}
    yield "names of its own", {"vocab.txt": VOCAB, "tokenizer_config.json": {"news_token": "news", "extra_special_tokens": ["<new>", {"content": "storm", "lstrip": True, "__type": "AddedToken"}]}}
    named = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"] + WORDS
    names = {**XNAMES, "mask_token": {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}}
    yield "special_tokens_map.json alone", {"vocab.txt": named, "special_tokens_map.json": names}
    yield "special_tokens_map.json before the configuration", {"vocab.txt": named + SPECIAL, "special_tokens_map.json": names, "tokenizer_config.json": NAMES}
    yield "added_tokens_decoder before special_tokens_map.json", {"vocab.txt": named + SPECIAL, "special_tokens_map.json": names, "tokenizer_config.json": {**NAMES, "added_tokens_decoder": decoder(len(named) + 5)}}
    yield "a name without a value in special_tokens_map.json", {"vocab.txt": VOCAB, "special_tokens_map.json": {"mask_token": None}, "tokenizer_config.json": {"mask_token": "storm"}}
    yield "left truncation", {"vocab.txt": VOCAB, "tokenizer_config.json": {"truncation_side": "left"}}
    baked = bert_json(VOCAB, True)
    baked.enable_truncation(7, direction="left")
    baked.enable_padding(length=16)
    yield "baked truncation", {"tokenizer.json": baked}
    yield "baked truncation, as it is", {"tokenizer.json": baked, "tokenizer_config.json": fast}
    yield "no segments", {"vocab.txt": VOCAB, "tokenizer_config.json": {"model_input_names": ["input_ids", "attention_mask"]}}
    yield "special tokens split", {"vocab.txt": VOCAB, "tokenizer_config.json": {"split_special_tokens": True}}
    yield "two separators, no segments", {"tokenizer.json": bert_json(VOCAB, True, post_processor=twice_separated(False)), "tokenizer_config.json": fast}
    yield "two separators, segments", {"tokenizer.json": bert_json(VOCAB, True, post_processor=twice_separated(True)), "tokenizer_config.json": {**fast, "truncation_side": "left"}}
    roberta = processors.Sequence([processors.ByteLevel(), processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))])
    yield "RoBERTa's processor", {"tokenizer.json": bert_json(VOCAB, True, post_processor=roberta), "tokenizer_config.json": fast}
    xclass = {"tokenizer_class": "XLMRobertaTokenizer"}
    yield "XLM-R", {"tokenizer.json": xlmr_json(), "tokenizer_config.json": {**XNAMES, **xclass}}
    yield "XLM-R, names in the map", {"tokenizer.json": xlmr_json(), "tokenizer_config.json": xclass, "special_tokens_map.json": XNAMES}
    yield "XLM-R with a map of characters", {"tokenizer.json": xlmr_json(normalizers.Sequence([normalizers.Precompiled(charsmap()), normalizers.Lowercase()])), "tokenizer_config.json": xclass}
    yield "XLM-R with other parts", {"tokenizer.json": xlmr_json(normalizers.Lowercase(), pre_tokenizers.Metaspace()), "tokenizer_config.json": {**xclass, "add_prefix_space": False}}
    yield "XLM-R with segments", {"tokenizer.json": xlmr_json(), "tokenizer_config.json": {**xclass, "model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}}
    yield "pieces as they are", {"tokenizer.json": xlmr_json(normalizers.Lowercase(), pre_tokenizers.Metaspace()), "tokenizer_config.json": {**XNAMES, "tokenizer_class": "PreTrainedTokenizerFast"}}


def content(value):
    if isinstance(value, Tokenizer):
        return json.dumps(json.loads(value.to_str()), ensure_ascii=False)
    if isinstance(value, list):
        return "".join(line + "\n" for line in value)
    return json.dumps(value, ensure_ascii=False)


def card():
    """Returns the source of the model card's function that assembles a sequence."""
    folder = HERE.parents[2] / "nb-train/src/model"
    return "".join((folder / name).read_text(encoding="utf8") for name in ["card_tokens.py", "card_head.py"])


def sequence(tokenizer, function, first, second, max_tokens):
    """Returns token ids and segment ids of a sequence of at most `max_tokens` tokens."""
    space = {"tokenizer": tokenizer}
    exec(function.replace("{max_tokens}", str(max_tokens)), space)
    out = space["tokens"](*[text for text in (first, second) if text is not None])
    return out["input_ids"], out.get("token_type_ids", [0] * len(out["input_ids"]))


def main():
    cases, lines, function = 0, [], card()
    for name, files in folders():
        files = {"config.json": CONFIG, **files}
        files = {file: content(value) for file, value in files.items()}
        with tempfile.TemporaryDirectory() as folder:
            for file, text in files.items():
                (pathlib.Path(folder) / file).write_text(text, encoding="utf8")
            tokenizer = AutoTokenizer.from_pretrained(folder)
        sequences = []
        for text, (first, second) in enumerate(TEXTS):
            seen = None
            for max_tokens in LENGTHS:
                out = sequence(tokenizer, function, first, second, max_tokens)
                if out != seen:
                    sequences.append([text, max_tokens, *out])
                seen = out
        cases += len(sequences)
        lines.append(json.dumps({"name": name, "files": files, "sequences": sequences}, ensure_ascii=False, separators=(",", ":")))
    texts = json.dumps(TEXTS, ensure_ascii=False)
    head = '{"card":' + json.dumps(function) + ',\n"texts":' + texts
    (HERE / "tokenizers.json").write_text(head + ',\n"folders":[\n' + ",\n".join(lines) + "\n]}\n", encoding="utf8")
    print(f"{len(lines)} folders, {cases} sequences")


main()
