// GPUs, with their MIG instances inside, and how each is used.

import { compareKeys } from "./compare.ts"
import type { Cluster, Device, Source } from "../types.ts"

/** A GPU: itself, or its instances. */
export interface Gpu {
  index: string
  /** The GPU where it is not in MIG mode. */
  whole: Device | null
  instances: Device[]
}

export type Use = "unknown" | "held" | "free" | "busy"

/** The index of the GPU that a label is of. */
export const indexOf = (label: string): string => label.split("_")[0] ?? label

/** Whether a device is of the one that is asked for: the index of a GPU takes its instances too. */
export const onGpu = (wanted: string | undefined, label: string): boolean => wanted === undefined || label === wanted || indexOf(label) === wanted

/** Whether a name is the one that is asked for; an empty one takes what is not known. */
export const isWanted = (wanted: string | undefined, value: string | null): boolean => wanted === undefined || (value ?? "") === wanted

export function gpus(devices: readonly Device[]): Gpu[] {
  const found = new Map<string, Gpu>()
  for (const device of devices) {
    const index = indexOf(device.gpu)
    let gpu = found.get(index)
    if (!gpu) found.set(index, (gpu = { index, whole: null, instances: [] }))
    if (device.gpu === index) gpu.whole = device
    else gpu.instances.push(device)
  }
  const list = [...found.values()].sort((a, b) => compareKeys(a.index, b.index))
  for (const gpu of list) gpu.instances.sort((a, b) => compareKeys(a.gpu, b.gpu))
  return list
}

/** How a device is used: by its sessions, then by who holds it. Unknown is not free. */
export function useOf(device: Device): Use {
  if (device.held_idle || (device.sessions === 0 && device.allocations)) return "held"
  if (device.sessions === null) return "unknown"
  return device.sessions > 0 ? "busy" : "free"
}

/** Devices with a session: null where none is seen and not all are known; `least` where there may be more. */
export function inUse(devices: readonly Device[]): { count: number | null; least: boolean } {
  const count = devices.filter((device) => (device.sessions ?? 0) > 0).length
  const least = devices.length === 0 || devices.some((device) => device.sessions === null)
  return { count: least && count === 0 ? null : count, least }
}

/** Step of the colour, 0 to 5; null where the utilisation is unknown. */
export function stepOf(ratio: number | null): number | null {
  if (ratio === null) return null
  return ratio <= 0 ? 0 : Math.min(5, 1 + Math.floor(ratio * 5))
}

/** Whether it is known of each device who is on it; where not, counts of users are of what is known. */
export function unsure(view: { sources: Source[] } | null, devices: readonly Device[]): boolean {
  if (!view || (devices.length === 0 && view.sources.some((source) => !source.up))) return true
  return devices.some((device) => device.users === null || device.unattributed === null)
}

/** Whether the totals of the cluster are of a part of it. */
export const isPart = (all: Cluster | null): boolean => (all?.devices_unknown ?? 0) > 0 || (all?.nodes_unknown ?? 0) > 0
