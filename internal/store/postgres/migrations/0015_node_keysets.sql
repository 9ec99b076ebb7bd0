-- Which keys of the keyset a node has, oldest first, with a * after the one that it seals
-- with. NULL for nodes of earlier versions, which do not say so.
ALTER TABLE nodes ADD COLUMN keyset text COLLATE "C";
