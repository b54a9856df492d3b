#!/usr/bin/env bash
# Installs, checks and removes the stack that helmfile.yaml.gotmpl describes. `./deploy_astrago.sh --help` says how.
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
environment=${ASTRAGO_ENV:-astrago}
values=$root/environments/$environment/values.yaml
# Ours, and where the commands that look at the result find it.
monitoring=gpu-session-monitoring
namespace=gpu-operator
# Pods of the Jobs of the first sample, the one for nodes with MIG too; the Job of the removal, and the ConfigMap that
# tells it to keep nothing.
samples='job-name in (gpu-session-metrics-collector,gpu-session-metrics-collector-mig)'
removal_job=gpu-session-metrics-removal
purge_map=gpu-session-monitoring-removal
# Grafana's password, which its chart would make anew each time it is rendered.
grafana_secret=grafana-admin
# Namespaces that this script made carry it.
made_by=app.kubernetes.io/managed-by=deploy_astrago
# Helm and kubectl are to speak of one cluster: that of KUBECONFIG and its current context.
unset HELM_KUBECONTEXT HELM_KUBEAPISERVER HELM_KUBETOKEN HELM_KUBEASUSER HELM_KUBEASGROUPS HELM_NAMESPACE

usage() {
    cat <<END
usage: ./deploy_astrago.sh COMMAND [RELEASE] [OPTION]

Installs the stack of an environment: kube-prometheus-stack, gpu-operator and gpu-session-monitoring.
RELEASE is one of the three; without it a command is for all that the environment has.

Commands:
  env                 make environments/$environment/values.yaml from the example
  sync [RELEASE]      install or upgrade; what is as it should be stays as it is
  diff [RELEASE]      show what sync would change
  template [RELEASE]  show the manifests; asks no cluster
  status [RELEASE]    show what is installed and whether it runs
  doctor              check every prerequisite on every GPU node
  destroy [RELEASE]   remove what sync made, with the metrics on the nodes; says what it leaves

Options:
  --purge             destroy: also the counters and the ledger on the nodes
  --force             destroy: do not wait for nodes that cannot be cleaned
  --timeout=DURATION  destroy: how long to wait for the nodes (default: 5m)
  -h, --help          show this

Environment variables:
  ASTRAGO_ENV         the environment (default: astrago)
  KUBECONFIG          the cluster, as for kubectl

Examples:
  ./deploy_astrago.sh sync
  ./deploy_astrago.sh sync gpu-session-monitoring
  ASTRAGO_ENV=lab ./deploy_astrago.sh diff gpu-session-monitoring
  ./deploy_astrago.sh destroy gpu-session-monitoring --purge
END
}

say() { printf '==> %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
misuse() {
    printf 'error: %s; see ./deploy_astrago.sh --help\n' "$*" >&2
    exit 2
}

# --- what must be there ---

# need COMMAND WHERE-TO-GET-IT
need() { command -v "$1" >/dev/null 2>&1 || die "$1 is missing; install it: $2"; }

check_tools() {
    need helm "https://helm.sh/docs/intro/install"
    need helmfile "https://helmfile.readthedocs.io"
    local version
    version=$(helm version --template '{{.Version}}' 2>/dev/null) || version=
    [[ $version =~ ^v?([0-9]+)\.([0-9]+) ]] || die "helm does not tell its version; install it anew"
    ((BASH_REMATCH[1] > 3 || (BASH_REMATCH[1] == 3 && BASH_REMATCH[2] >= 13))) ||
        die "helm $version is too old; install 3.13 or later"
    version=$(HELMFILE_UPGRADE_NOTICE_DISABLED=true helmfile version --output short 2>/dev/null) || version=
    [[ $version =~ ^v?([0-9]+)\. ]] || die "helmfile does not tell its version; install 1.0 or later"
    ((BASH_REMATCH[1] >= 1)) || die "helmfile $version is too old; install 1.0 or later"
}

check_cluster() {
    need kubectl "https://kubernetes.io/docs/tasks/tools"
    local context answer
    context=$(kubectl config current-context 2>/dev/null) || context=
    [[ -n $context ]] || die "no cluster is chosen; set KUBECONFIG, or run: kubectl config use-context NAME"
    answer=$(kubectl get --raw /version --request-timeout=10s 2>&1) ||
        die "the cluster of context $context does not answer: $(tail -n 1 <<<"$answer"); see: kubectl config view --minify"
    say "cluster: $context"
}

check_environment() {
    [[ $environment =~ ^[a-z0-9]([a-z0-9-]*[a-z0-9])?$ ]] ||
        die "ASTRAGO_ENV=$environment is no name of an environment; use small letters, digits and dashes"
}

# What installs makes the environment that nobody named; a name that is not there is more likely a slip.
need_values() {
    [[ ! -e $values ]] || return 0
    [[ $environment == astrago && $command =~ ^(sync|diff|template)$ ]] ||
        die "$values is not there; set ASTRAGO_ENV to one that is, or run: ASTRAGO_ENV=$environment ./deploy_astrago.sh env"
    make_environment >&2
}

# --- helmfile ---

# helmfile for the environment
stack() {
    local plain=()
    [[ -t 1 ]] || plain=(--no-color)
    ASTRAGO_ENV=$environment helmfile "${plain[@]}" --file "$root/helmfile.yaml.gotmpl" --environment "$environment" "$@"
}

# Names and namespaces of the environment's releases: NAME NAMESPACE
releases() {
    local listed
    # helmfile fails where it has nothing to list.
    if ! listed=$(stack --quiet list --output json 2>"$work/error"); then
        ! grep -q 'no releases found' "$work/error" || return 0
        cat "$work/error" >&2
        die "$values or helmfile.yaml.gotmpl cannot be read; the cause is above"
    fi
    # One release is one {...}, and no value has braces or quotes in it but labels, which are not asked for.
    { grep -o '{[^}]*}' <<<"$listed" || true; } | sed -n 's/.*"name":"\([^"]*\)","namespace":"\([^"]*\)".*/\1 \2/p'
}

# Sets `chosen`: lines of NAME NAMESPACE for the release that was named, or for all.
choose() {
    local all
    all=$(releases)
    [[ -n $all ]] || die "environment $environment has no release; enable one in $values"
    chosen=$all
    [[ -n $release ]] || return 0
    chosen=$(awk -v name="$release" '$1 == name' <<<"$all")
    [[ -n $chosen ]] ||
        die "environment $environment has no release $release, or does not install it (enabled, existing in $values); it has: $(awk '{ print $1 }' <<<"$all" | xargs)"
}

has() { grep -q "^$1 " <<<"$chosen"; }

# helmfile for the chosen releases. Ours is here: no repository is asked for it alone.
chosen_stack() {
    local selectors=()
    if [[ -n $release ]]; then
        selectors=(--selector "name=$release")
        [[ $release != "$monitoring" ]] || set -- "$@" --skip-deps
    fi
    stack "${selectors[@]}" "$@"
}

installed() { helm status "$1" --namespace "$2" >/dev/null 2>&1; }

# --- env ---

# ask QUESTION DEFAULT : prints the answer; the default where nobody can be asked
ask() {
    local answer=
    if [[ -t 0 && -t 2 ]]; then
        read -r -p "$1 [$2] " answer || answer=
    fi
    printf '%s' "${answer:-$2}"
}

yes_or_no() {
    local answer
    answer=$(ask "$1 (y/n)" "$2")
    [[ $answer == [yY]* ]] && echo true || echo false
}

make_environment() {
    [[ ! -e $values ]] || { say "$values is there and stays as it is"; return; }
    local image prometheus operator new=$values.new
    image=$(ask "Image of gpu-session-monitoring, without its tag" gpu-session-monitor)
    [[ $image =~ ^[a-z0-9][a-z0-9._:/-]*$ && ${image##*/} != *:* ]] ||
        die "$image is no name of an image without a tag; its tag is gpu-session-monitoring.image.tag"
    prometheus=$(yes_or_no "Does the cluster have a Prometheus stack that stays?" n)
    operator=$(yes_or_no "Does the cluster have the GPU Operator?" n)
    mkdir -p "$(dirname "$values")"
    awk -v image="$image" -v prometheus="$prometheus" -v operator="$operator" '
        /^[a-z]/ { key = $1 }
        $1 == "existing:" && key == "kube-prometheus-stack:" { sub(/false/, prometheus) }
        $1 == "existing:" && key == "gpu-operator:" { sub(/false/, operator) }
        $1 == "repository:" { sub(/gpu-session-monitor$/, image) }
        { print }' "$root/environments/example/values.yaml" >"$new"
    mv "$new" "$values"
    say "made $values; see that it is what you want"
}

# --- sync ---

# Namespaces that are not there are made, and marked, so that destroy removes them and no others.
make_namespaces() {
    local name
    while read -r name; do
        kubectl get namespace "$name" >/dev/null 2>&1 </dev/null && continue
        say "making namespace $name"
        # Drivers, hostPID and the folders of the node need this level.
        kubectl create --filename - <<END
apiVersion: v1
kind: Namespace
metadata:
  name: $name
  labels:
    ${made_by/=/: }
    pod-security.kubernetes.io/enforce: privileged
END
    done < <(awk '{ print $2 }' <<<"$chosen" | sort -u)
}

sync() {
    make_namespaces
    local name space
    while read -r name space; do
        sync_release "$name" "$space" </dev/null
    done < <(grep -v "^$monitoring " <<<"$chosen" || true; grep "^$monitoring " <<<"$chosen" || true)
}

sync_release() {
    local name=$1 space=$2
    if unchanged "$name" "$space"; then
        say "$name: no change"
        return
    fi
    say "$name: installing"
    case $name in
    kube-prometheus-stack) make_grafana_secret "$space" ;;
    "$monitoring") say "the first sample, and the check of every GPU node, take a minute, and longer while images are fetched" ;;
    esac
    if ! release=$name chosen_stack sync; then
        [[ $name != "$monitoring" ]] || show_sample >&2
        die "$name is not installed as it should be; the cause is above. After the remedy run the same again"
    fi
    case $name in
    gpu-operator) wait_for_gpus ;;
    "$monitoring")
        # Where there is no first sample, nobody can tell yet.
        [[ -z $(kubectl get pods --namespace "$space" --selector "$samples" --output name) ]] || all_covered "$samples" ||
            die "not every GPU node is measured; see above"
        ;;
    esac
}

# The nodes have their labels, drivers and runtime only when the operator says so: they are counted by the label.
wait_for_gpus() {
    say "waiting for drivers and labels of the GPU nodes; the first time that takes some minutes"
    kubectl wait clusterpolicies.nvidia.com --all --for='jsonpath={.status.state}=ready' --timeout=30m ||
        die "the GPU Operator is not ready; see: kubectl get pods -n gpu-operator"
}

make_grafana_secret() {
    kubectl get secret "$grafana_secret" --namespace "$1" >/dev/null 2>&1 && return
    kubectl create secret generic "$grafana_secret" --namespace "$1" --from-literal=admin-user=admin \
        --from-literal=admin-password="$(head -c 24 /dev/urandom | base64)"
}

# Whether the release is what the environment makes of it, and the cluster what the release says.
unchanged() {
    local name=$1 space=$2 rendered released
    [[ -n $(helm list --namespace "$space" --filter "^$name\$" --deployed --short) ]] || return
    rendered=$(release=$name rendered 2>/dev/null) || return
    released=$(helm get manifest "$name" --namespace "$space" && helm get hooks "$name" --namespace "$space") || return
    [[ $(documents <<<"$rendered") == "$(documents <<<"$released")" ]] || return
    release=$name rendered --no-hooks 2>/dev/null | kubectl diff --namespace "$space" --filename - >/dev/null 2>&1
}

# The manifests of a release, with the cluster's own answers, as sync has them.
rendered() { chosen_stack --quiet template --args "--dry-run=server $*"; }

# Manifests as sorted lines, one for each.
documents() { awk 'BEGIN { RS = "---\n" } { gsub(/\n+/, "\001"); print }' | grep -v '^.\?$' | sort; }

# What the pods of the samples' Jobs said, with each node's name; and what kept pods from being made.
show_sample() {
    local pod node
    while read -r pod node; do
        printf '\n--- %s\n' "${node:-no node yet}"
        kubectl logs --namespace "$namespace" "$pod" --all-containers </dev/null 2>&1 || true
    done < <(kubectl get pods --namespace "$namespace" --selector "$samples" \
        --output 'jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{"\n"}{end}' 2>/dev/null)
    kubectl get events --namespace "$namespace" --field-selector type=Warning \
        --output 'jsonpath={range .items[*]}{.involvedObject.kind}/{.involvedObject.name}: {.message}{"\n"}{end}' 2>/dev/null | sort -u
}

# --- diff ---

diff_release() {
    local name=$1 space=$2 manifests rc=0
    if ! installed "$name" "$space"; then
        say "$name is not installed: sync makes"
        manifests=$(release=$name chosen_stack --quiet template --args --no-hooks) || return 1
        awk '/^kind:/ { kind = $2 } /^  name:/ && kind { print "  " kind "/" $2; kind = "" }' <<<"$manifests"
        return
    fi
    manifests=$(release=$name rendered --no-hooks) || return 1
    kubectl diff --namespace "$space" --filename - <<<"$manifests" || rc=$?
    case $rc in
    0) if unchanged "$name" "$space"; then say "$name: no change"; else say "$name: what is left differs in hooks, or is removed"; fi ;;
    1) say "$name: changes are above" ;;
    *) return 1 ;;
    esac
}

# --- status ---

status_release() {
    local name=$1 space=$2
    say "$name in namespace $space"
    if ! installed "$name" "$space"; then
        echo "not installed"
        return
    fi
    helm list --namespace "$space" --filter "^$name\$"
    kubectl get cronjobs,daemonsets,deployments,statefulsets,jobs --namespace "$space" \
        --selector "app.kubernetes.io/instance=$name" 2>&1
}

. "$root/deploy/doctor.sh"
. "$root/deploy/destroy.sh"

# --- the command line ---

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command='' release='' purge='' force='' timeout=5m
for argument in "$@"; do
    case $argument in
    -h | --help) usage; exit ;;
    --purge) purge=yes ;;
    --force) force=yes ;;
    --timeout=*)
        timeout=${argument#*=}
        [[ $timeout =~ ^[0-9]+[smh]$ ]] || misuse "--timeout=$timeout is no duration such as 90s or 5m"
        ;;
    -*) misuse "unknown option $argument" ;;
    *)
        if [[ -z $command ]]; then command=$argument
        elif [[ -z $release ]]; then release=$argument
        else misuse "one release at a time, not $argument too"; fi
        ;;
    esac
done

case $command in
'') usage >&2; exit 2 ;;
env | sync | diff | template | status | doctor | destroy) ;;
*) misuse "unknown command $command" ;;
esac
[[ $command == destroy || $purge$force$timeout == 5m ]] || misuse "--purge, --force and --timeout go with destroy"
[[ -z $purge || -z $force ]] || misuse "--purge cleans the nodes, which --force does not wait for"
[[ -z $release || ! $command =~ ^(env|doctor)$ ]] || misuse "$command takes no release"

check_environment
if [[ $command == env ]]; then
    make_environment
    exit
fi
check_tools
[[ $command == template ]] || check_cluster
if [[ $command == doctor ]]; then
    doctor
    exit
fi
need_values
choose
case $command in
sync) sync ;;
template) chosen_stack --quiet template ;;
diff | status)
    while read -r name space; do
        "${command}_release" "$name" "$space" </dev/null || failed=yes
    done <<<"$chosen"
    [[ -z ${failed:-} ]] || die "$command is not whole; the cause is above"
    ;;
destroy) destroy_all ;;
esac
