# shellcheck shell=bash disable=SC2154 # The names are those of deploy_astrago.sh.
# Part of deploy_astrago.sh: whether every GPU node is measured, and what it lacks.

doctor() {
    installed "$monitoring" "$namespace" || die "$monitoring is not installed; run: ./deploy_astrago.sh sync $monitoring"
    local agents=app.kubernetes.io/name=$monitoring,app.kubernetes.io/component=agent found rc=0
    found=$(kubectl get daemonsets --namespace "$namespace" --selector "$agents" --output name)
    if [[ -n $found ]]; then
        doctor_of_agents "$agents" || rc=1
        echo
        all_covered "$agents" || rc=1
    else
        say "a sample is taken on every GPU node and checked"
        helm test "$monitoring" --namespace "$namespace" >/dev/null || rc=1
        show_sample
        echo
        all_covered "$samples" || rc=1
        found=$(kubectl get pods --namespace "$namespace" --selector "$samples" --output 'jsonpath={.items[*].spec.containers[*].name}')
        [[ " $found " == *' doctor '* ]] ||
            die "nothing was checked: collection.firstSample.doctor is false in $values"
    fi
    ((rc == 0)) || die "something is missing; what and its remedy are above"
}

doctor_of_agents() {
    local pods pod node rc=0
    pods=$(kubectl get pods --namespace "$namespace" --selector "$1" \
        --output 'jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{"\n"}{end}') || return 1
    while read -r pod node; do
        [[ -n $node ]] || continue
        printf '\n--- %s\n' "$node"
        kubectl exec --namespace "$namespace" "$pod" --container agent -- gpu-session-monitor doctor </dev/null || rc=1
    done <<<"$pods"
    return $rc
}

# The nodes that are to be measured, a line each: NAME READY
gpu_nodes() {
    local selector
    # shellcheck disable=SC2016 # These are variables of the template.
    selector=$(kubectl get cronjobs,daemonsets --namespace "$namespace" --selector "app.kubernetes.io/name=$monitoring" --output go-template='
        {{- with index .items 0 }}{{ $pod := .spec.template }}{{ with .spec.jobTemplate }}{{ $pod = .spec.template }}{{ end }}
        {{- range $key, $value := $pod.spec.nodeSelector }}{{ $key }}={{ $value }},{{ end }}{{ end }}') || return 1
    kubectl get nodes --selector "${selector%,}" \
        --output 'jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}'
}

# Whether each node that is to be measured has one of these pods: a node that came after the last sync has none.
all_covered() {
    local nodes covered bare node
    nodes=$(gpu_nodes) && covered=$(kubectl get pods --namespace "$namespace" --selector "$1" \
        --output 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}') || return 1
    bare=$(comm -23 <(awk 'NF { print $1 }' <<<"$nodes" | sort -u) <(sort -u <<<"$covered"))
    for node in $bare; do
        printf 'failed: %s has GPUs and no collector; run: ./deploy_astrago.sh sync %s\n' "$node" "$monitoring" >&2
    done
    [[ -z $bare ]]
}
