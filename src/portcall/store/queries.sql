-- Named queries. `-- name` opens one; parameters are named.

-- put_playbook
INSERT OR IGNORE INTO playbook (digest, text, file) VALUES (:digest, :text, :file)

-- get_playbook
SELECT text, file FROM playbook WHERE digest = :digest

-- put_catalog
INSERT INTO catalog (path, digest, at) VALUES (:path, :digest, :at)
ON CONFLICT (path) DO UPDATE SET digest = excluded.digest, at = excluded.at

-- get_catalog
SELECT p.digest, p.text, p.file FROM catalog c JOIN playbook p ON p.digest = c.digest WHERE c.path = :path

-- catalog_paths
SELECT path FROM catalog ORDER BY path

-- put_execution
INSERT INTO execution (id, path, playbook, status, started, last_seq, owner)
VALUES (:id, :path, :playbook, 'running', :started, 0, :owner)

-- get_execution
SELECT id, path, playbook, status, started, ended, last_seq, owner FROM execution WHERE id = :id

-- last_seq
SELECT last_seq FROM execution WHERE id = :id

-- move_execution
UPDATE execution SET last_seq = :seq, status = :status WHERE id = :id

-- end_execution
UPDATE execution SET last_seq = :seq, status = :status, ended = :ended WHERE id = :id

-- own_execution
UPDATE execution SET owner = :owner WHERE id = :id AND ended IS NULL

-- list_executions
SELECT e.id, e.path, e.status, e.started, e.ended, e.owner,
       (SELECT count(*) FROM call c WHERE e.ended IS NULL AND c.execution_id = e.id AND c.status = 'parked')
FROM execution e ORDER BY e.id DESC LIMIT :limit

-- put_event
INSERT INTO event (execution_id, seq, event_id, body) VALUES (:execution, :seq, :event_id, :body)

-- has_event
SELECT 1 FROM event WHERE event_id = :event_id

-- events_after
SELECT body FROM event WHERE execution_id = :execution AND seq > :after ORDER BY seq LIMIT :limit

-- put_call
INSERT INTO call (call_id, execution_id, step, kind, status) VALUES (:call_id, :execution, :step, :kind, 'issued')

-- get_call
SELECT execution_id, kind, status, stop, runtime FROM call WHERE call_id = :call_id

-- park_call
UPDATE call SET status = 'parked', runtime = :runtime, handle = :handle, parked_at = :at
WHERE call_id = :call_id AND status = 'issued'

-- close_call
UPDATE call SET status = 'closed' WHERE call_id = :call_id

-- mark_overdue
UPDATE call SET overdue = 1 WHERE call_id = :call_id

-- stop_call
UPDATE call SET stop = :reason WHERE call_id = :call_id AND stop IS NULL

-- tell_stop
UPDATE call SET stop_seq = (SELECT coalesce(max(stop_seq), 0) + 1 FROM call WHERE stop_seq IS NOT NULL)
WHERE call_id = :call_id AND stop IS NOT NULL AND status = 'parked' AND stop_seq IS NULL

-- open_calls
SELECT c.call_id, c.execution_id, c.step, c.handle, c.parked_at, c.stop, c.overdue
FROM call c JOIN execution e ON e.id = c.execution_id
WHERE c.status = 'parked' AND c.runtime = :runtime AND e.owner = :owner
UNION ALL
SELECT c.call_id, c.execution_id, c.step, c.handle, c.parked_at, c.stop, c.overdue
FROM command q CROSS JOIN call c ON c.call_id = q.call_id CROSS JOIN execution e ON e.id = c.execution_id
WHERE c.status = 'issued' AND c.kind = 'container' AND e.owner = :owner

-- stops
SELECT c.call_id, c.execution_id, c.handle, c.stop, c.stop_seq, c.step
FROM call c JOIN execution e ON e.id = c.execution_id
WHERE c.stop_seq > :after AND c.status <> 'closed' AND c.runtime = :runtime AND e.owner = :owner
ORDER BY c.stop_seq LIMIT 1000

-- unclosed_calls
SELECT call_id, status FROM call WHERE execution_id = :execution AND status <> 'closed'

-- put_command
INSERT INTO command (call_id, execution_id, not_before, claim, body, queued_at)
VALUES (:call_id, :execution, :not_before, 0, :body, :now)

-- claimable_commands
SELECT c.id, c.claim + 1, c.body, c.stop FROM command c
WHERE c.worker_id IS NULL AND c.not_before <= :now
  AND EXISTS (SELECT 1 FROM execution e WHERE e.id = c.execution_id AND e.owner = :owner)
ORDER BY c.id LIMIT :limit

-- claim_command
UPDATE command SET worker_id = :worker, claim = :claim, lease_until = :lease WHERE id = :id

-- drop_command
DELETE FROM command WHERE call_id = :call_id

-- finish_command
DELETE FROM command WHERE call_id = :call_id AND claim = :claim AND worker_id IS NOT NULL

-- withdraw_command
DELETE FROM command WHERE call_id = :call_id AND worker_id IS NULL

-- defer_command
UPDATE command SET worker_id = NULL, lease_until = NULL, not_before = :not_before
WHERE call_id = :call_id AND claim = :claim AND worker_id IS NOT NULL

-- unclaim_command
UPDATE command SET worker_id = NULL, lease_until = NULL WHERE call_id = :call_id

-- stop_command
UPDATE command SET stop = 1 WHERE call_id = :call_id

-- held_commands
SELECT call_id, claim, stop FROM command WHERE worker_id = :worker

-- extend_lease
UPDATE command SET lease_until = :lease WHERE call_id = :call_id AND claim = :claim AND worker_id = :worker

-- spare_leases
UPDATE command SET lease_until = :lease WHERE worker_id IS NOT NULL AND lease_until < :lease

-- expired_commands
SELECT call_id, execution_id, worker_id, claim FROM command
WHERE worker_id IS NOT NULL AND lease_until <= :now LIMIT :limit

-- claimed_of_execution
SELECT call_id, execution_id, worker_id, claim FROM command WHERE worker_id IS NOT NULL AND execution_id = :execution

-- queued_count
SELECT count(*) FROM command WHERE worker_id IS NULL

-- next_command_due
SELECT min(not_before) FROM command WHERE worker_id IS NULL AND not_before > :now

-- next_lease_end
SELECT min(lease_until) FROM command WHERE worker_id IS NOT NULL

-- put_timer
INSERT OR REPLACE INTO timer (call_id, kind, execution_id, due_at) VALUES (:call_id, :kind, :execution, :due_at)

-- drop_timers
DELETE FROM timer WHERE call_id = :call_id

-- drop_timer
DELETE FROM timer WHERE call_id = :call_id AND kind = :kind

-- due_timers
SELECT call_id, kind, execution_id FROM timer WHERE due_at <= :now ORDER BY due_at LIMIT :limit

-- next_timer
SELECT min(due_at) FROM timer

-- open_count
SELECT count(*) FROM (SELECT 1 FROM execution INDEXED BY execution_open WHERE ended IS NULL LIMIT :most)

-- parked_counts
SELECT runtime, count(*), total(overdue) FROM (
    SELECT runtime, overdue FROM call INDEXED BY call_parked WHERE status = 'parked' LIMIT :most
) GROUP BY runtime

-- command_counts
SELECT CASE WHEN worker_id IS NOT NULL THEN 'held' WHEN not_before > :now THEN 'delayed' ELSE 'ready' END, count(*)
FROM (SELECT worker_id, not_before FROM command LIMIT :most) GROUP BY 1

-- oldest_command
SELECT max(queued_at, not_before) FROM command
WHERE worker_id IS NULL AND not_before <= :now ORDER BY id LIMIT 1
