/** `headwater group list|describe|reset|delete`. */
import type { Command } from "commander";
import type { GroupDescription } from "../native/client/types.ts";
import { UsageError } from "./failure.ts";
import { withGateway } from "./gateway.ts";
import { plan, type ResetOptions } from "./group-reset.ts";
import { addExamples, collect, gatewayAddress } from "./options.ts";
import { bold, coloursOn, print, printObjects } from "./output.ts";
import { formatCount } from "./quantities.ts";
import { formatPairs, formatTable } from "./table.ts";

const NONE = "-";

export function addGroup(program: Command): void {
	const group = program.command("group").description("list, describe, move and delete groups of Kafka consumers");
	addExamples(
		group,
		"headwater group list",
		"headwater group describe workers",
		"headwater group reset workers --topic jobs --to-earliest --execute",
	);
	addList(group);
	addDescribe(group);
	addReset(group);
	addDelete(group);
}

function addList(group: Command): void {
	const command = group.command("list").description("list the groups").option("--json", "one JSON object a line");
	addExamples(command, "headwater group list", "headwater group list --json | jq -r .name");
	command.action(async (options: { json?: boolean }) => {
		const list = await withGateway(gatewayAddress(command), (client) => client.groups.list());
		list.sort((a, b) => (a.name < b.name ? -1 : 1));
		if (options.json) return printObjects(list);
		if (list.length === 0) return print("there are no groups; a Kafka consumer with a group.id makes one\n");
		await print(
			formatTable(
				["GROUP", "STATE", "TYPE"],
				list.map(({ name, state, protocolType }) => [name, state, protocolType === "" ? NONE : protocolType]),
			),
		);
	});
}

function addDescribe(group: Command): void {
	const command = group
		.command("describe <name>")
		.description("show a group's members, and where it stands in each partition")
		.option("--json", "print it as one JSON object");
	addExamples(command, "headwater group describe workers", "headwater group describe workers --json | jq .partitions");
	command.action(async (name: string, options: { json?: boolean }) => {
		const description = await withGateway(gatewayAddress(command), (client) => client.groups.describe(name));
		if (options.json) await printObjects([description]);
		else await print(describeGroup(description, coloursOn(process.stdout)));
	});
}

export function describeGroup(description: GroupDescription, colours: boolean): string {
	const { name, state, protocol, members, partitions } = description;
	const owners = new Map<string, string>();
	for (const { memberId, instanceId, assigned } of members)
		for (const { topic, partitions: numbers } of assigned)
			for (const number of numbers) owners.set(`${topic} ${number}`, instanceId ?? memberId);
	const head = formatPairs([
		["group", bold(name, colours)],
		["state", state],
		["protocol", protocol === "" ? NONE : protocol],
		["members", String(members.length)],
		["lag", formatCount(partitions.reduce((sum, { lag }) => sum + (lag ?? 0), 0))],
	]);
	const rows = formatTable(
		["TOPIC", "PARTITION", "OFFSET", "END", "LAG", "MEMBER"],
		partitions.map(({ topic, partition, offset, highWatermark, lag }) => [
			topic,
			String(partition),
			offset === null ? NONE : String(offset),
			String(highWatermark),
			lag === null ? NONE : String(lag),
			owners.get(`${topic} ${partition}`) ?? NONE,
		]),
		[1, 2, 3, 4],
	);
	const list = formatTable(
		["MEMBER", "INSTANCE", "CLIENT", "HOST"],
		members.map(({ memberId, instanceId, clientId, host }) => [memberId, instanceId ?? NONE, clientId, host]),
	);
	return members.length === 0 ? `${head}\n${rows}` : `${head}\n${rows}\n${list}`;
}

function addReset(group: Command): void {
	const command = group
		.command("reset <name>")
		.description("put a group without members elsewhere; without --execute only say where it would be put")
		.option("--topic <topic[:partitions]>", "a topic, or some partitions of it (jobs:0,2); may be repeated", collect)
		.option("--all-topics", "every topic that the group has an offset of")
		.option("--to-earliest", "to the oldest record that is stored")
		.option("--to-latest", "behind the newest record")
		.option("--to-offset <n>", "to this offset, as near as the partition has it")
		.option("--to-time <time>", "to the first record of a time (2026-05-01T12:00:00Z), or of how long ago (-2h)")
		.option("--shift-by <n>", "so many records on, or back (-100)")
		.option("--execute", "do it")
		.option("--json", "one JSON object a line");
	addExamples(
		command,
		"headwater group reset workers --all-topics --to-latest",
		"headwater group reset workers --topic jobs --to-time -2h --execute",
		"headwater group reset workers --topic jobs:0 --shift-by -100 --execute",
	);
	command.action(async (name: string, options: ResetOptions & { execute?: boolean; json?: boolean }) => {
		const moves = await withGateway(gatewayAddress(command), async (client) => {
			const known = (await client.groups.list()).some((each) => each.name === name);
			// A group that is to begin somewhere need not have been there before.
			const described = known || options.topic === undefined ? await client.groups.describe(name) : emptyGroup(name);
			const planned = await plan(client, described, options);
			if (described.state !== "Empty") throw new UsageError(`group ${name} has members: stop its consumers first`);
			if (options.execute && planned.length > 0)
				await client.groups.setOffsets(
					name,
					planned.map(({ topic, partition, to }) => ({ topic, partition, offset: to })),
				);
			return planned;
		});
		if (options.json) return printObjects(moves);
		const table = formatTable(
			["TOPIC", "PARTITION", "FROM", "TO"],
			moves.map(({ topic, partition, from, to }) => [
				topic,
				String(partition),
				from === null ? NONE : String(from),
				String(to),
			]),
			[1, 2, 3],
		);
		await print(options.execute ? table : `${table}nothing is changed; --execute does it\n`);
	});
}

function addDelete(group: Command): void {
	const command = group.command("delete <name>").description("delete a group without members, and its offsets");
	addExamples(command, "headwater group delete workers");
	command.action(async (name: string) => {
		await withGateway(gatewayAddress(command), (client) => client.groups.delete(name));
		await print(`group ${name} is deleted\n`);
	});
}

function emptyGroup(name: string): GroupDescription {
	return { name, state: "Empty", protocolType: "", protocol: "", members: [], partitions: [] };
}
