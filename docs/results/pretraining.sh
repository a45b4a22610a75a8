#!/bin/bash
# The runs of pretraining behind docs/results.md: `bash docs/results/pretraining.sh PART…` from anywhere, where a part is
#   hour FAMILY the small recipe of roberta, electra or t5 for an hour on one thread; a run that was stopped goes on
#   prepare     the tokenizer, the corpus and a small one, of the folder TEXT that assets/data/corpus/fetch_corpus.py made
#   pace RECIPE how many seconds of processor a step of one of recipes/compare takes
#   learn ARM   one objective for as many steps as take MINUTES of one processor: see arm() below; a run that was stopped
#               goes on
#   teach ARM TASK SEED   a task from what the arm has learnt (or `nothing`: from fresh weights)
#   all         everything but the hours, one after another
# Needs ptm in the path (or PTM=…) and the full sets of `python3 assets/data/fetch.py data`, for their test parts.
# `python3 docs/results/pretraining.py` prints the tables and draws the curves.
set -eu
cd "$(dirname "$0")/../.."
PTM=${PTM:-ptm}
TEXT=${TEXT:-corpus/text}
MINUTES=${MINUTES:-10}
OUT=runs/compare
ARMS="masked masked-1 next-sentence replaced boundary dynamic static"
mkdir -p $OUT

hour() {
    local small=runs/$1-small
    test -d "$small-tokenizer" || $PTM tokenizer train "$TEXT" --family "$1" --vocab-size 8000 --output "$small-tokenizer"
    test -d "$small-corpus" || $PTM corpus pack "$TEXT" --tokenizer "$small-tokenizer" --output "$small-corpus"
    $PTM --threads 1 pretrain "recipes/pretrain/$1-small.toml" --set run.minutes=63 --set evaluate.every=200 \
        --set checkpoint.every=200 --set corpus.validation=0.005 --set corpus.judged=500
}

prepare() {
    # WordNet's definitions are what the tasks are made of
    mkdir -p $OUT/text $OUT/small
    local file
    for file in "$TEXT"/*.txt; do
        case $file in
        */wordnet.txt) ;;
        */foldoc.txt | */jargon.txt | */gnome.txt | */policy.txt) ln -sf "$(realpath "$file")" $OUT/text; ln -sf "$(realpath "$file")" $OUT/small ;;
        *) ln -sf "$(realpath "$file")" $OUT/text ;;
        esac
    done
    test -d $OUT/tokenizer || $PTM tokenizer train $OUT/text --family bert --vocab-size 8000 --output $OUT/tokenizer
    test -d $OUT/corpus || $PTM corpus pack $OUT/text --tokenizer $OUT/tokenizer --output $OUT/corpus
    test -d $OUT/small-corpus || $PTM corpus pack $OUT/small --tokenizer $OUT/tokenizer --output $OUT/small-corpus
}

# arm NAME: its recipe and settings
arm() {
    case $1 in
    masked | next-sentence | replaced | boundary) echo "$1" ;;
    masked-1) echo masked --set seed=1 ;;
    dynamic) echo masked --set corpus.packed=$OUT/small-corpus --set corpus.validation=0.02 ;;
    static) echo masked --set corpus.packed=$OUT/small-corpus --set corpus.validation=0.02 --set objective.patterns=1 ;;
    *) echo "no such arm: $1; there are $ARMS" >&2; exit 2 ;;
    esac
}

# Time of the processor, which does not depend on what else runs.
pace() {
    local TIMEFORMAT="%U %S" steps=60 file=$OUT/pace/$1
    test -s "$file" && return
    mkdir -p $OUT/pace
    { time $PTM --threads 1 -q pretrain "recipes/compare/$1.toml" --set "output=$file-model" --set run.steps=$steps \
        --set corpus.validation=0.0 --set checkpoint.every=100000 2>&3; } 3>&2 2>"$file.time"
    awk -v steps=$steps 'END { print ($1 + $2) / steps }' "$file.time" >"$file"
    rm -rf "$file-model" "$file.time"
}

learn() {
    local settings steps
    read -ra settings <<<"$(arm "$1")"
    test -d "$OUT/$1/model" && return
    read -ra settings <<<"$(arm "$1")"
    pace "${settings[0]}"
    steps=$(awk -v minutes="$MINUTES" '{ print int(60 * minutes / $1) }' "$OUT/pace/${settings[0]}")
    $PTM --threads 1 pretrain "recipes/compare/${settings[0]}.toml" --set "output=$OUT/$1" --set "run.steps=$steps" \
        "${settings[@]:1}"
}

# teach ARM TASK SEED: from the sample of a task, judged on the test part of its full set
teach() {
    local folder=$OUT/tasks/$1-$2-$3
    test -s "$folder/evaluation.json" && return
    $PTM --threads 1 -q finetune "recipes/$2.toml" --set "output=$folder" --set "model=$OUT/$1/model" --set "seed=$3" \
        --set optimizer.lr=5e-4
    $PTM --threads 1 -q evaluate "$folder/model" "data/$2" --json >"$folder/evaluation.new"
    mv "$folder/evaluation.new" "$folder/evaluation.json"
    rm -rf "$folder"/checkpoint-* "$folder/model"
}

# The weights of one arm before its first step
nothing() {
    test -d $OUT/nothing/model || $PTM -q pretrain recipes/compare/masked.toml --set output=$OUT/nothing \
        --set run.steps=1 --set optimizer.lr=0.0 --set checkpoint.best=false
}

case ${1:-all} in
hour) hour "$2" ;;
prepare) prepare ;;
pace) pace "$2" ;;
learn) learn "$2" ;;
teach)
    test "$2" != nothing || nothing
    teach "$2" "$3" "$4"
    ;;
all)
    prepare
    for each in $ARMS; do learn "$each"; done
    nothing
    for each in nothing $ARMS; do
        for task in topics names parts-of-speech; do
            for seed in 0 1 2; do teach "$each" $task $seed; done
        done
    done
    ;;
*)
    echo "no such part: $1" >&2
    exit 2
    ;;
esac
