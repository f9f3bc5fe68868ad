import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { offsetCommit } from "../../../src/kafka/handlers/08-offset-commit.ts";
import { joinGroup } from "../../../src/kafka/handlers/11-join-group.ts";
import { syncGroup } from "../../../src/kafka/handlers/14-sync-group.ts";
import { type Gateway, startGateway, temporaryFolder } from "../../support/gateway.ts";
import { KafkaWire } from "../../support/kafka-wire.ts";
import { objects, talk } from "./session.ts";

let gateway: Gateway;
let wire: KafkaWire;
const folder = temporaryFolder("cli-groups");

beforeAll(async () => {
	gateway = await startGateway({
		dataDirectory: path.join(folder, "data"),
		settings: { "group.initial.rebalance.delay.ms": 0 },
	});
	wire = await KafkaWire.connect(gateway.kafkaPort);
	await talk(gateway, ["topic", "create", "jobs", "--partitions", "2"]);
	await talk(gateway, ["produce", "jobs", "--partition", "0"], "a\nb\nc\nd\n");
});
afterAll(async () => {
	wire?.destroy();
	await gateway?.stop();
	fs.rmSync(folder, { recursive: true, force: true });
});

async function commit(groupId: string, committedOffset: number): Promise<void> {
	const partitions = [{ partitionIndex: 0, committedOffset, committedMetadata: "note" }];
	await wire.request(offsetCommit, 8, { groupId, topics: [{ name: "jobs", partitions }] });
}

it("groups are listed and described with their lag", async () => {
	await commit("lister", 1);
	expect(objects((await talk(gateway, ["group", "list", "--json"])).stdout)).toContainEqual({
		name: "lister",
		state: "Empty",
		protocolType: "",
	});
	const [described] = objects((await talk(gateway, ["group", "describe", "lister", "--json"])).stdout);
	expect(described?.partitions).toEqual([
		{ topic: "jobs", partition: 0, offset: 1, metadata: "note", logStartOffset: 0, highWatermark: 4, lag: 3 },
	]);
	const { stdout } = await talk(gateway, ["group", "describe", "lister"]);
	expect(stdout).toMatch(/TOPIC +PARTITION +OFFSET +END +LAG +MEMBER\njobs +0 +1 +4 +3 +-\n/);
	expect(await talk(gateway, ["group", "describe", "nobody"])).toMatchObject({ code: 1, stdout: "" });
});

it("reset says where it would put a group, and does it with --execute", async () => {
	await commit("mover", 1);
	const moved = async (...how: string[]) =>
		objects((await talk(gateway, ["group", "reset", "mover", "--topic", "jobs", "--json", ...how])).stdout);
	const jobs = (from: number, to: number) => ({ topic: "jobs", partition: 0, from, to });
	expect(await moved("--to-latest")).toEqual([jobs(1, 4), { topic: "jobs", partition: 1, from: null, to: 0 }]);
	expect(await moved("--to-offset", "3", "--execute")).toContainEqual(jobs(1, 3));
	expect(await moved("--shift-by", "-2", "--execute")).toContainEqual(jobs(3, 1));
	expect(await moved("--shift-by", "-5")).toContainEqual(jobs(1, 0));
	expect(await moved("--to-offset", "99")).toContainEqual(jobs(1, 4));
	expect(await moved("--to-time", "-1h")).toContainEqual(jobs(1, 0));
	expect(await moved("--to-time", "2100-01-01")).toContainEqual(jobs(1, 4));
	expect(await moved("--to-earliest", "--execute")).toContainEqual(jobs(1, 0));
	const said = await talk(gateway, ["group", "reset", "mover", "--all-topics", "--to-latest"]);
	expect(said.stdout).toMatch(/jobs +0 +0 +4\n/);
	expect(said.stdout).toContain("--execute");
	const anew = await talk(gateway, [
		"group",
		"reset",
		"new one",
		"--topic",
		"jobs:0",
		"--to-offset",
		"2",
		"--execute",
		"--json",
	]);
	expect(objects(anew.stdout)).toEqual([{ topic: "jobs", partition: 0, from: null, to: 2 }]);
});

it("what cannot be is refused with one line", async () => {
	const { memberId, generationId } = await wire.request(joinGroup, 3, {
		groupId: "busy",
		sessionTimeoutMs: 60_000,
		rebalanceTimeoutMs: 60_000,
		protocolType: "consumer",
		protocols: [{ name: "range", metadata: Buffer.alloc(0) }],
	});
	const assignment = Buffer.concat([
		Buffer.from([0, 0, 0, 0, 0, 1, 0, 4]),
		Buffer.from("jobs"),
		Buffer.from([0, 0, 0, 1, 0, 0, 0, 1]),
	]);
	await wire.request(syncGroup, 3, {
		groupId: "busy",
		generationId,
		memberId,
		assignments: [{ memberId, assignment }],
	});
	const described = await talk(gateway, ["group", "describe", "busy"]);
	expect(described.stdout).toMatch(new RegExp(`jobs +1 +- +0 +- +${memberId}\n`));
	const refused = await Promise.all([
		talk(gateway, ["group", "delete", "busy"]),
		talk(gateway, ["group", "delete", "nobody"]),
		talk(gateway, ["group", "reset", "busy", "--topic", "jobs", "--to-latest", "--execute"]),
		talk(gateway, ["group", "reset", "mover", "--topic", "nowhere", "--to-latest"]),
		talk(gateway, ["group", "reset", "mover", "--topic", "jobs:7", "--to-latest"]),
		talk(gateway, ["group", "reset", "mover", "--topic", "jobs"]),
		talk(gateway, ["group", "reset", "mover", "--to-latest"]),
		talk(gateway, ["group", "reset", "mover", "--topic", "jobs", "--to-time", "17"]),
	]);
	for (const { code, stdout, stderr } of refused) {
		expect(stderr).toMatch(/^headwater: [^\n]+\n$/);
		expect({ isRefused: code !== 0, stdout }).toEqual({ isRefused: true, stdout: "" });
	}
	expect((await talk(gateway, ["group", "delete", "mover"])).stdout).toBe("group mover is deleted\n");
});
