import { useEffect, useRef } from "preact/hooks"
import type { ComponentChildren } from "preact"
import { view } from "../data/node.ts"
import { language, messages } from "../i18n/index.ts"
import { idleSeconds } from "../lib/durations.ts"
import { full } from "../lib/format.ts"
import { visible } from "../lib/text.ts"
import { freshness, isCluster, serverNow } from "../state.ts"
import type { Part, Session } from "../types.ts"
import { asDuration, asGib, asPercent, DeviceLink, Moment, Name, UserLink } from "./common.tsx"
import { useAsked } from "./hooks.ts"

/** A session as the newest data has it: of when that is, and whether it is no longer listed. */
function useNewest(opened: Session): { session: Session; at: number | null; gone: boolean; failure: string | null } {
  const last = useRef<{ session: Session; at: number | null }>({ session: opened, at: freshness.value.timestamp })
  const { node, gpu, session: id } = opened
  const asked = useAsked<Part & { sessions: Session[] }>(isCluster.value ? "cluster/sessions" : null, { node, gpu, limit: 1000 })
  const current = isCluster.value ? asked.value?.sessions.find((one) => one.session === id) : view.value?.sessions.get(id)
  const known = isCluster.value ? asked.value !== null && asked.value.total <= asked.value.sessions.length : view.value !== null
  if (current) last.current = { session: current, at: isCluster.value ? (asked.value?.timestamp ?? null) : (view.value?.timestamp ?? null) }
  return { ...last.current, gone: known && !current, failure: asked.failure }
}

/** All that is known of a session. */
export function SessionDialog({ session: opened, close }: { session: Session; close: () => void }) {
  const { session, at, gone, failure } = useNewest(opened)
  const m = messages.value
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    dialog.current?.showModal()
    addEventListener("hashchange", close)
    return () => removeEventListener("hashchange", close)
  }, [])
  const now = at ?? serverNow.peek()
  const of = at === null ? m.unknown : full(language.value, at)
  const allocated = session.allocated === null ? null : session.allocated ? m.yes : m.no
  const facts: [string, ComponentChildren][] = [
    [m.command, <Name value={session.command} />],
    [m.pid, session.pid],
    [m.device, <DeviceLink node={session.node} gpu={session.gpu} note={session.mig_profile} />],
    ...(session.node === undefined ? [] : [[m.node, <Name value={session.node} />] as [string, ComponentChildren]]),
    [m.user, <UserLink user={session.user} />],
    [m.userRule, <Name value={session.user_rule} />],
    [m.uid, <Name value={session.uid === null ? null : String(session.uid)} />],
    [m.namespace, <Name value={session.namespace} />],
    [m.pod, <Name value={session.pod} />],
    [m.container, <Name value={session.container} />],
    [m.place, <Name value={session.place} />],
    [m.attributedBy, <Name value={session.attributed_by} />],
    [m.allocated, <Name value={allocated} />],
    [m.memory, asGib(session.memory_used_bytes)],
    [m.sm, asPercent(session.sm_utilization_ratio)],
    [m.memoryBusy, asPercent(session.memory_busy_ratio)],
    [m.encoder, asPercent(session.encoder_utilization_ratio)],
    [m.decoder, asPercent(session.decoder_utilization_ratio)],
    [m.smTime, asDuration(session.sm_seconds)],
    [m.began, <Moment at={session.start_time} />],
    [m.lastActive, <Moment at={session.last_active_time} />],
    [m.idleFor, asDuration(idleSeconds(session, now))],
    [m.uuid, <Name value={session.device_uuid} />],
    [m.podUid, <Name value={session.pod_uid} />],
    [m.containerId, <Name value={session.container_id} />],
    [m.sessionId, <Name value={session.session} />],
  ]
  return (
    <dialog class="details" ref={dialog} aria-label={m.details} onClose={close} onClick={(event) => event.target === dialog.current && dialog.current?.close()}>
      <div class="details-body">
        <header><h2><Name value={session.command} /></h2><button type="button" class="button" autofocus onClick={() => dialog.current?.close()}>{m.close}</button></header>
        <p class={gone || failure !== null ? "details-of bad" : "details-of muted"} role="status">{failure !== null ? `${visible(failure)} · ${m.since(of)}` : gone ? m.unlisted(of) : m.asOf(of)}</p>
        <dl class="facts">{facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
      </div>
    </dialog>
  )
}
