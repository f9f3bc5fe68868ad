/** Doors that a test opens, and that are closed when it ends. */
import { afterEach } from "vitest";
import type { MqttOptions } from "../../../bridge/mqtt/options.ts";
import { TestDoor } from "./door.ts";

const doors: TestDoor[] = [];
afterEach(async () => {
	for (const door of doors.splice(0)) await door.close();
});

export async function open(options: Partial<MqttOptions> = {}, memoryBudgetBytes?: number): Promise<TestDoor> {
	const door = await TestDoor.open(options, memoryBudgetBytes);
	doors.push(door);
	return door;
}

/** What a gateway killed now would find at its next start. The one that is killed goes on. */
export async function killed(door: TestDoor): Promise<TestDoor> {
	const next = await door.killed();
	doors.push(next);
	return next;
}
