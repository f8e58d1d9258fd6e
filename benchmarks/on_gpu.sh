#!/usr/bin/env bash
# Every benchmark that wants a GPU, one after the other, with no network; the figures end in RESULTS.md.
#
#   bash benchmarks/on_gpu.sh [PART...]     parts: small filled medium large evaluate resume prepare
#   (default: all; "filled": small in batches of 16 minutes, which a corpus as large as the Italian one allows)
#
# PYTHON   the interpreter (default: .venv's, else python3); it needs what pyproject.toml names for speech
# WHEELS   a folder of wheels, for a machine without a network: what PYTHON lacks is installed from there into
#          $OUT/venv, which sees PYTHON's packages too. `gpu_results.py missing` names what is lacking
# OUT      where figures and logs go, a file a part (default: build/gpu)
# LIMIT_S  the most seconds for a part (default: 540)
# CLIPS    how many clips a part has (default: its own number)
# STEPS    how many steps a training takes (default: its own number)
# A part that fails or takes too long leaves its log and what it had measured, and the others go on. Run again,
# a part replaces its own figures only. On a machine whose files are lost, bring $OUT home, and there:
# `python benchmarks/gpu_results.py report FOLDER auto`. DEVICE=cpu SIZE=nano CLIPS=60 tries the script without
# a GPU: few steps, and figures that are shown and not kept.
set -uo pipefail
cd "$(dirname "$0")/.."
default=python3
[ -x .venv/bin/python ] && default=.venv/bin/python
PYTHON=${PYTHON:-$default} OUT=${OUT:-build/gpu} LIMIT_S=${LIMIT_S:-540} DEVICE=${DEVICE:-auto} SIZE=${SIZE:-}
STEPS=${STEPS:-} WHEELS=${WHEELS:-}
case $DEVICE in auto | cpu) ;; *) echo "DEVICE is auto or cpu, not $DEVICE"; exit 2 ;; esac
export PYTHONPATH=.${PYTHONPATH:+:$PYTHONPATH} HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false HF_HUB_DISABLE_PROGRESS_BARS=1
mkdir -p "$OUT" || exit 1
all="small filled medium large evaluate resume prepare"
for name in "$@"; do
    [[ " $all " == *" $name "* ]] || { echo "no part $name; parts: $all"; exit 2; }
done
wanted=${*:-$all}
few=()
if [ "$DEVICE" = cpu ]; then
    export CUDA_VISIBLE_DEVICES=
    few=(--steps 8 --kill-at 5)
    STEPS=${STEPS:-3}
fi

results() { "$PYTHON" benchmarks/gpu_results.py "$@"; }

if [ -n "$WHEELS" ] && [ -n "$(results missing)" ]; then
    "$PYTHON" -m venv --system-site-packages "$OUT/venv" &&
        results missing | xargs "$OUT/venv/bin/python" -m pip install -q --no-index --find-links "$WHEELS" || exit 1
    PYTHON=$OUT/venv/bin/python
fi
results check "$DEVICE" "$WHEELS" || exit 1

part() { # NAME SCRIPT OPTION...
    local name=$1 status=0
    shift
    [[ " $wanted " == *" $name "* ]] || return
    echo "== $name, at most $LIMIT_S s"
    results begin "$OUT/$name.json"
    timeout -k 20 "$LIMIT_S" "$PYTHON" "benchmarks/$@" --json "$OUT/$name.json" >"$OUT/$name.log" 2>&1 || status=$?
    grep -aE '^(ours|recipe|encoder|profile:|killed|two in|fp32|tf32|bf16|\|)|clips/s| on ' "$OUT/$name.log"
    [ "$status" = 0 ] || { echo "$name ended with $status; the end of $OUT/$name.log:"; tail -n 15 "$OUT/$name.log"; }
    results end "$OUT/$name.json" "$status" "$OUT/$name.log"
}

train="bench_train.py --device $DEVICE --profile --model-config"
part small $train "${SIZE:-small}" --steps "${STEPS:-80}" --clips "${CLIPS:-8000}"
part filled $train "${SIZE:-small}" --steps "${STEPS:-60}" --clips "${CLIPS:-4000}" --batch-s 960
part medium $train "${SIZE:-medium}" --steps "${STEPS:-40}" --clips "${CLIPS:-6000}"
part large $train "${SIZE:-large-v3}" --steps "${STEPS:-30}" --clips "${CLIPS:-4000}"
part evaluate bench_evaluate.py --model-config "${SIZE:-small}" --clips "${CLIPS:-1000}" --batch-s 960 --tuned
part resume bench_resume.py --model-config "${SIZE:-small}" --batch-s 240 --clips "${CLIPS:-400}" "${few[@]}"
part prepare bench_prepare.py --clips "${CLIPS:-300}"
results report "$OUT" "$DEVICE"
