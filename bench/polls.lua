-- What wrk sends: the polls in a file, one after the other; without a file, GET.
--
--     wrk -s polls.lua URL -- [FILE]
--
-- A line of the file is a body, a tab, and the status.txt of the job that it asks for, or nothing. Before each poll the
-- status.txt of the job that is half a turn away is changed: each has changed since it was asked for last.

local polls, files, turn, round = {}, {}, 0, 0

function init(arguments)
   local headers = { ["Content-Type"] = "text/xml; charset=utf-8" }
   if arguments[1] then
      for line in io.lines(arguments[1]) do
         local body, file = line:match("^([^\t]*)\t(.*)$")
         polls[#polls + 1] = wrk.format("POST", nil, headers, body)
         files[#files + 1] = file
      end
   else
      polls[1], files[1] = wrk.format("GET"), ""
   end
end

function request()
   turn = turn % #polls + 1
   if turn == 1 then round = round + 1 end
   local file = files[(turn + math.floor(#polls / 2) - 1) % #polls + 1]
   if file ~= "" then
      local status = assert(io.open(file, "r+"))  -- in place: an emptied file would be written to the disk, and waited for
      status:write(string.format("%02d", round % 100))
      status:close()
   end
   return polls[turn]
end

function done(summary, latency)
   local errors = 0
   for _, count in pairs(summary.errors) do errors = errors + count end
   io.write(string.format('{"polls": %d, "seconds": %f, "p99": %f, "errors": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(99) / 1e3, errors))
end
