import { useRef } from "preact/hooks"
import { cluster } from "../data/cluster.ts"
import { view } from "../data/node.ts"
import { language, messages } from "../i18n/index.ts"
import { full } from "../lib/format.ts"
import { visible } from "../lib/text.ts"
import { freshness, isCluster, stale } from "../state.ts"

/** Says that the data is old, since when and why; and which parts of it are missing. */
export function Banner() {
  const m = messages.value
  const { timestamp, link, failure, notReady } = freshness.value
  const down = (view.value?.sources ?? []).filter((source) => !source.up)
  const warnings = cluster.value?.warnings ?? []
  const why = link === "refused" ? m.refused : link === "connecting" ? m.connecting : link === "away" ? (isCluster.value ? m.awayCluster : m.awayNode) : failure !== null ? m.lookFailed : notReady !== null ? m.agentSays : m.late
  const said = failure ?? notReady
  const wasStale = useRef(false)
  if (stale.value) wasStale.current = true
  return (
    <>
      <div role="status" class="live-region">
        {stale.value && timestamp !== null && (
          <div class="banner bad">
            <b>{why}</b> {said !== null && <span>{visible(said)}</span>} <span>{m.since(full(language.value, timestamp))}</span>
          </div>
        )}
        {!stale.value && wasStale.current && <span class="hidden">{m.backAgain}</span>}
      </div>
      {down.length > 0 && (
        <div class="banner">
          <b>{m.sourceErrors}:</b> {down.map(({ source, errors }) => `${visible(source)}${errors.length ? ` (${visible(errors.join("; "))})` : ""}`).join(", ")}
        </div>
      )}
      {warnings.length > 0 && <div class="banner"><b>{m.warnings}:</b> {visible(warnings.join("; "))}</div>}
    </>
  )
}
