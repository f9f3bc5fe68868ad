// The scenario of kafka/clients.test.ts with franz-go. Arguments: BOOTSTRAP PREFIX START_TIME_MS.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var bootstrap string

type object = map[string]any

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func client(options ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, options...)...)
	check(err)
	return made
}

func take(ctx context.Context, from *kgo.Client, count int) []*kgo.Record {
	var taken []*kgo.Record
	for len(taken) < count {
		fetches := from.PollFetches(ctx)
		if ctx.Err() != nil {
			return taken
		}
		fetches.EachError(func(_ string, _ int32, err error) { panic(err) })
		taken = append(taken, fetches.Records()...)
	}
	return taken
}

func values(records []*kgo.Record) []string {
	all := []string{}
	for _, record := range records {
		all = append(all, string(record.Value))
	}
	return all
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	bootstrap = os.Args[1]
	prefix := os.Args[2]
	start, err := strconv.ParseInt(os.Args[3], 10, 64)
	check(err)
	report := object{}
	plain(ctx, prefix+"-plain", prefix+"-group", start, report)
	members(ctx, prefix+"-plain", prefix+"-members", report)
	transactions(ctx, prefix, report)
	administration(ctx, prefix+"-plain", prefix+"-group", report)
	check(json.NewEncoder(os.Stdout).Encode(report))
}

func plain(ctx context.Context, topic, group string, start int64, report object) {
	owner := client()
	defer owner.Close()
	admin := kadm.NewClient(owner)
	retention := "-1"
	_, err := admin.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": &retention}, topic)
	check(err)
	topics, err := admin.ListTopics(ctx, topic)
	check(err)
	report["partitions"] = len(topics[topic].Partitions)

	at := start
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	for _, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		producer := client(kgo.ProducerBatchCompression(codecs[name]), kgo.ProducerLinger(20*time.Millisecond))
		var records []*kgo.Record
		for n := range 20 {
			records = append(records, &kgo.Record{Topic: topic, Timestamp: time.UnixMilli(at),
				Key: fmt.Appendf(nil, "k%d", n%5), Value: fmt.Appendf(nil, "%s-%d", name, n),
				Headers: []kgo.RecordHeader{{Key: "codec", Value: []byte(name)}}})
			at += 1000
		}
		check(producer.ProduceSync(ctx, records...).FirstErr())
		producer.Close()
	}
	check(owner.ProduceSync(ctx, &kgo.Record{Topic: topic, Timestamp: time.UnixMilli(at), Key: []byte("gone")}).FirstErr())

	fromStart := []kgo.Opt{kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
	consumer := client(fromStart...)
	consumed := []object{}
	for _, record := range take(ctx, consumer, 101) {
		headers := object{}
		for _, header := range record.Headers {
			headers[header.Key] = string(header.Value)
		}
		seen := object{"partition": record.Partition, "offset": record.Offset, "timestamp": record.Timestamp.UnixMilli(),
			"key": string(record.Key), "value": nil, "headers": headers}
		if record.Value != nil {
			seen["value"] = string(record.Value)
		}
		consumed = append(consumed, seen)
	}
	report["consumed"] = consumed
	check(consumer.CommitUncommittedOffsets(ctx))
	consumer.Close()
	listed, err := admin.ListOffsetsAfterMilli(ctx, start+20_000, topic)
	check(err)
	check(listed.Error())
	sum := int64(0)
	listed.Each(func(offset kadm.ListedOffset) { sum += offset.Offset })
	report["offsetsAtSecondCodec"] = sum

	simple := client(kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	for n := range 5 {
		check(simple.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", n), Value: fmt.Appendf(nil, "more-%d", n)}).FirstErr())
	}
	simple.Close()
	again := client(fromStart...)
	report["resumed"] = values(take(ctx, again, 5))
	check(again.CommitUncommittedOffsets(ctx))
	again.Close()
}

// members: two of them share the partitions; when one leaves, the other has them all.
func members(ctx context.Context, topic, group string, report object) {
	var lock sync.Mutex
	changed := make(chan struct{}, 100)
	assigned := [2]int{}
	join := func(index int) *kgo.Client {
		count := func(sign int) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
				lock.Lock()
				assigned[index] += sign * len(partitions[topic])
				lock.Unlock()
				changed <- struct{}{}
			}
		}
		member := client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
			kgo.HeartbeatInterval(100*time.Millisecond), kgo.OnPartitionsAssigned(count(1)),
			kgo.OnPartitionsRevoked(count(-1)), kgo.OnPartitionsLost(count(-1)))
		go func() {
			for !member.PollFetches(ctx).IsClientClosed() && ctx.Err() == nil {
			}
		}()
		return member
	}
	until := func(want ...int) []int {
		for {
			lock.Lock()
			now := []int{assigned[0], assigned[1]}
			lock.Unlock()
			slices.Sort(now)
			if slices.Equal(now, want) {
				return now
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return now
			}
		}
	}
	one := join(0)
	until(0, 3)
	two := join(1)
	shared := until(1, 2)
	two.Close()
	alone := until(0, 3)
	one.Close()
	report["members"] = [][]int{shared, alone[1:]}
}

func transactions(ctx context.Context, prefix string, report object) {
	topic, group := prefix+"-tx", prefix+"-eos"
	id := []kgo.Opt{kgo.TransactionalID(prefix + "-id"), kgo.DefaultProduceTopic(topic)}
	producer := client(id...)
	defer producer.Close()
	admin := kadm.NewClient(producer)
	created, err := admin.CreateTopics(ctx, 1, 1, nil, topic, prefix+"-copy")
	check(err)
	check(created.Error())
	for _, name := range []string{"a", "b", "c"} {
		check(producer.BeginTransaction())
		for n := range 5 {
			check(producer.ProduceSync(ctx, &kgo.Record{Key: []byte("k"), Value: fmt.Appendf(nil, "%s%d", name, n)}).FirstErr())
		}
		check(producer.EndTransaction(ctx, kgo.TransactionEndTry(name != "b")))
	}

	// Offsets in a transaction go through a session, which reads, writes and commits: a copy of five records.
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap), kgo.TransactionalID(prefix+"-copy"),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	check(err)
	copied := 0
	for copied < 10 && ctx.Err() == nil {
		fetched := session.PollFetches(ctx).Records()
		check(session.Begin())
		for _, record := range fetched {
			check(session.Client().ProduceSync(ctx, &kgo.Record{Topic: prefix + "-copy", Value: record.Value}).FirstErr())
		}
		committed, err := session.End(ctx, kgo.TryCommit)
		check(err)
		if committed {
			copied += len(fetched)
		}
	}
	session.Close()
	offsets, err := admin.FetchOffsets(ctx, group)
	check(err)
	report["copiedUpTo"] = offsets[topic][0].At

	read := object{}
	for level, isolation := range map[string]kgo.IsolationLevel{"read_committed": kgo.ReadCommitted(), "read_uncommitted": kgo.ReadUncommitted()} {
		consumer := client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(isolation), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		count := 15
		if level == "read_committed" {
			count = 10
		}
		read[level] = values(take(ctx, consumer, count))
		consumer.Close()
	}
	report["read"] = read
	copy := client(kgo.ConsumeTopics(prefix+"-copy"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	report["copied"] = values(take(ctx, copy, 10))
	copy.Close()

	second := client(id...)
	defer second.Close()
	check(second.BeginTransaction())
	check(second.ProduceSync(ctx, &kgo.Record{Value: []byte("of the second")}).FirstErr())
	check(producer.BeginTransaction())
	err = producer.ProduceSync(ctx, &kgo.Record{Value: []byte("fenced")}).FirstErr()
	if err == nil {
		err = producer.EndTransaction(ctx, kgo.TryCommit)
	}
	report["fenced"] = errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.ProducerFenced)
	check(second.EndTransaction(ctx, kgo.TryAbort))
}

func administration(ctx context.Context, topic, group string, report object) {
	owner := client(kgo.DefaultProduceTopic(topic))
	defer owner.Close()
	admin := kadm.NewClient(owner)
	done := object{}
	limit := "2000"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &limit}}, topic)
	check(err)
	check(altered[0].Err)
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	check(err)
	for _, config := range described[0].Configs {
		if config.Key == "max.message.bytes" {
			done["max.message.bytes"] = *config.Value
		}
	}
	big := make([]byte, 3000)
	for i := range big {
		big[i] = byte(i * i >> 3)
	}
	plainly := client(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()))
	err = plainly.ProduceSync(ctx, &kgo.Record{Value: big}).FirstErr()
	plainly.Close()
	if errors.Is(err, kerr.MessageTooLarge) {
		done["tooLarge"] = "MESSAGE_TOO_LARGE"
	} else {
		done["tooLarge"] = fmt.Sprint(err)
	}
	grown, err := admin.UpdatePartitions(ctx, 4, topic)
	check(err)
	check(grown.Error())
	topics, err := admin.ListTopics(ctx, topic)
	check(err)
	done["partitions"] = len(topics[topic].Partitions)
	before := kadm.Offsets{}
	before.AddOffset(topic, 0, 3, -1)
	deleted, err := admin.DeleteRecords(ctx, before)
	check(err)
	done["lowWatermark"] = deleted[topic][0].LowWatermark
	starts, err := admin.ListStartOffsets(ctx, topic)
	check(err)
	done["earliest"] = starts[topic][0].Offset
	groups, err := admin.ListGroups(ctx)
	check(err)
	_, listed := groups[group]
	done["listed"] = listed
	states, err := admin.DescribeGroups(ctx, group)
	check(err)
	done["state"] = states[group].State
	_, err = admin.DeleteGroup(ctx, group)
	check(err)
	groups, err = admin.ListGroups(ctx)
	check(err)
	_, listed = groups[group]
	done["listedAfterDelete"] = listed
	_, err = admin.DeleteTopic(ctx, topic)
	check(err)
	topics, err = admin.ListTopics(ctx)
	check(err)
	done["topicAfterDelete"] = topics.Has(topic)
	report["administration"] = done
}
