// The state of a node as its stream tells it: changes are gathered and shown when a sample is whole.

import type { Device, Session, Source } from "../types.ts"

export interface View {
  timestamp: number
  /** The time of the server when it told of it. */
  now?: number | undefined
  sources: Source[]
  sessions: ReadonlyMap<string, Session>
  devices: ReadonlyMap<string, Device>
}

export class Gatherer {
  private readonly sessions = new Map<string, Session>()
  private readonly devices = new Map<string, Device>()

  /** Takes an event in; a view where it ends a sample. */
  take(name: string, data: unknown): View | null {
    switch (name) {
      case "session": {
        const session = data as Session
        this.sessions.set(session.session, session)
        return null
      }
      case "session_ended":
        this.sessions.delete((data as { session: string }).session)
        return null
      case "device": {
        const device = data as Device
        this.devices.set(device.uuid, device)
        return null
      }
      case "device_gone":
        this.devices.delete((data as { uuid: string }).uuid)
        return null
      case "sample": {
        const { timestamp, now, sources } = data as { timestamp: number; now?: number; sources: Source[] }
        return { timestamp, now, sources, sessions: new Map(this.sessions), devices: new Map(this.devices) }
      }
      default:
        return null
    }
  }
}

export const EVENTS = ["session", "session_ended", "device", "device_gone", "sample"] as const

/** Values of a device since the page was opened, the newest last. */
export interface Track {
  times: number[]
  utilization: (number | null)[]
  memory: (number | null)[]
}

const KEPT = 720

/** The tracks with a sample more; those of devices that are gone end. `gap`: nobody listened since the last one. */
export function tracked(before: ReadonlyMap<string, Track>, view: View, gap = false): Map<string, Track> {
  const after = new Map<string, Track>()
  for (const device of view.devices.values()) {
    const old = before.get(device.uuid)
    const total = device.memory_total_bytes
    const used = device.memory_used_bytes
    if (old && old.times.at(-1) === view.timestamp) {
      after.set(device.uuid, old)
      continue
    }
    const last = old?.times.at(-1)
    const hole = gap && last !== undefined
    const unknown = hole ? [null] : []
    after.set(device.uuid, {
      times: [...(old?.times ?? []), ...(hole ? [(last + view.timestamp) / 2] : []), view.timestamp].slice(-KEPT),
      utilization: [...(old?.utilization ?? []), ...unknown, device.utilization_ratio].slice(-KEPT),
      memory: [...(old?.memory ?? []), ...unknown, total && used !== null ? used / total : null].slice(-KEPT),
    })
  }
  return after
}

/** Delay before the next try, in milliseconds: doubled each time, up to 30 seconds; `chance` is 0 to 1. */
export function backOff(failures: number, chance: number): number {
  return Math.min(30_000, 1000 * 2 ** Math.max(0, failures - 1)) * (0.75 + chance / 2)
}
