#!/bin/bash
# The runs behind docs/results.md: `bash docs/results/run.sh PART…` from anywhere. Needs ptm in the path (or PTM=…), and
# for the parts senses-full and answers-full the full sets: `python3 assets/data/fetch.py data` in the repository's folder.
# What is there already is not computed again. `python3 docs/results/tables.py` prints the tables.
set -eu
cd "$(dirname "$0")/../.."
PTM=${PTM:-ptm}
PYTHON=${PYTHON:-python3}
OUT=runs/results
mkdir -p $OUT

# teach NAME RECIPE SEED [KEY=VALUE…]: a model in $OUT/NAME-SEED/model; seconds of processor and clock in its file time
teach() {
    local folder=$OUT/$1-$3 recipe=recipes/$2.toml settings=(--set "seed=$3") setting TIMEFORMAT="%U %S %R"
    for setting in "${@:4}"; do settings+=(--set "$setting"); done
    test -d "$folder/model" && return
    mkdir -p "$folder"
    { time $PTM --threads 1 -q finetune "$recipe" --set "output=$folder" "${settings[@]}" --json >"$folder/end.json" 2>&3; } \
        3>&2 2>>"$folder/time"
    rm -rf "$folder"/checkpoint-*
}

# judge NAME DATA FILE [FLAG…]: what `ptm evaluate` says of it
judge() {
    local model=$OUT/$1/model data=$2 file=$OUT/$1/$3
    test -s "$file" && return
    $PTM --threads 1 -q evaluate "$model" "$data" "${@:4}" --json >"$file.new"
    mv "$file.new" "$file"
}

# task NAME RECIPE DATA TRAIN: everything learns or the head alone, by three seeds; seed 0 against head and baseline
task() {
    for seed in 0 1 2; do
        teach "$1-full" "$2" $seed
        judge "$1-full-$seed" "$3" evaluation.json --report "$OUT/$1-full-$seed/evaluation"
        teach "$1-head" "$2" $seed tune.train=head optimizer.lr=3e-3
        judge "$1-head-$seed" "$3" evaluation.json
    done
    judge "$1-full-0" "$3" against-head.json --against "$OUT/$1-head-0/model"
    judge "$1-full-0" "$3" against-baseline.json --baseline "$4"
    judge "$1-head-0" "$3" against-baseline.json --baseline "$4"
}

# more NAME SETTING…: another way to learn topics
more() {
    for seed in 0 1 2; do
        teach "$1" topics $seed "${@:2}"
        judge "$1-$seed" assets/data/topics evaluation.json
    done
}

# One epoch of topics in ptm and in transformers, from the weights before ptm's first step.
beside() {
    local off=(regularize.dropout=0.0 batch.group=false batch.shuffle=false run.steps=50 log.every=1)
    teach topics-start topics 0 optimizer.lr=0.0 run.steps=1
    teach topics-losses topics 0 "${off[@]}"
    test -s $OUT/losses.json || $PYTHON parity/training/topics.py $OUT/topics-start-0/model $OUT/losses.json --losses
    for seed in 0 1 2; do
        teach topics-once topics $seed run.epochs=1 checkpoint.best=false
        judge topics-once-$seed assets/data/topics evaluation.json
        teach topics-start topics $seed optimizer.lr=0.0 run.steps=1
        local file=$OUT/transformers-$seed.json
        test -s "$file" || $PYTHON parity/training/topics.py $OUT/topics-start-$seed/model "$file" --seed $seed
    done
}

test $# -gt 0 || set -- topics layers transformers names parts-of-speech senses answers
for part; do
    case $part in
    topics | senses | answers) task "$part" "$part" "assets/data/$part" "assets/data/$part/train.jsonl" ;;
    names | parts-of-speech) task "$part" "$part" "assets/data/$part" "assets/data/$part/train.conll" ;;
    senses-full | answers-full) task "all-${part%-full}" "$part" "data/${part%-full}" "data/${part%-full}/train.jsonl" ;;
    layers)
        more topics-top2 tune.train=2
        more topics-gradual tune.train=gradual tune.thaw_every=50 ;;
    transformers) beside ;;
    *)
        echo "no such part: $part" >&2
        exit 2
        ;;
    esac
done
