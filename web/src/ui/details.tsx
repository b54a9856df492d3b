import { useEffect, useRef } from "preact/hooks"
import type { ComponentChildren } from "preact"
import { messages } from "../i18n/index.ts"
import { serverNow } from "../state.ts"
import type { Session } from "../types.ts"
import { asDuration, asGib, asPercent, DeviceLink, Moment, Name, UserLink } from "./common.tsx"
import { idleSeconds } from "./sessions.tsx"

/** All that is known of a session. */
export function SessionDialog({ session, close }: { session: Session; close: () => void }) {
  const m = messages.value
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    dialog.current?.showModal()
    addEventListener("hashchange", close)
    return () => removeEventListener("hashchange", close)
  }, [])
  const now = serverNow.peek()
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
        <dl class="facts">{facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
      </div>
    </dialog>
  )
}
