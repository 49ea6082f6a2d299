"""Word tables: which words say nothing of a subject, which are everyday, which belong together, which are cues.

Words only, drawn up by hand. What is counted with them belongs in ``domain/language/prose.py``,
``domain/judging/order.py`` and ``domain/judging/unity.py``.
"""

import re
from collections.abc import Mapping

_COMMON = """
a about above across after afterwards again against ago all almost alone along already also although always am among
an and another any anybody anyone anything anyway are around as ask asked at away back be became because become been
before began behind being below best better between big both but by call called came can cannot can't come comes could
couldn't day days did didn't do does doesn't doing don't done down during each either else end enough even ever every
everybody everyone everything far felt few find first for found from gave get gets getting give given go goes going
good got great had hadn't happen happened hard has hasn't have haven't having he he'd he'll he's her here hers herself
him himself his how however i i'd i'll i'm i've if in instead into is isn't it it'd it'll it's its itself just keep
kept kind knew know known last later least left less let like little long look looked lot made make makes making many
may maybe me mean meant might mine more most much must my myself near need never new next no nobody none nor not
nothing now of off often oh okay old on once one only onto or other others our ours out over own part people perhaps
put quite rather really right said same saw say says see seem seemed seen several shall she she'd she'll she's should
shouldn't since so some somebody someone something sometimes soon still such take taken tell than that that's the
their theirs them themselves then there there's these they they'd they'll they're they've thing things think this
those though thought three through time times to today together told too took toward towards tried turn turned two
under until up upon us use used very want wanted was wasn't way ways we we'd we'll we're we've well went were weren't
what whatever what's when where whether which while who who's whole whose why will with within without won't word
words work would wouldn't year years yes yet you you'd you'll you're you've your yours yourself
"""
COMMON = frozenset(_COMMON.split())
"""Words that say nothing of a text's subject."""

_EVERYDAY = """
able accept account act add added admit afternoon age agree air allow amount angry answer apart apologise apology
appear april area argue argument arm arrange arrive ate attention august aunt autumn baby bad bag bed begin believe
belong bench beneath beside besides bet bid bill bit black blue board body book bore born bottom bought bound box boy
break bring bringing brings broke broken brother brought brown build building built burnt busy buy calm car card care
careful carried carry case cast catch caught cause certain chair chance change charge check child children choice
choose chose city clean clear climbed close closed cold colleague collect colour coming comment common company
complain complete corner cost count couple course cousin cover cried cross cry cup cut dark date daughter dead deal
dealt december decide decision deep describe detail die died difference different dinner discover dog door double
doubt drank draw dream dress drew drink drive drop drove dry due dug early easily easy eat eaten edge effort eight
eighteen eighteenth eighty eleven eleventh empty entire evening event exactly example except excuse expect expensive
explain extra eye face fact fair fall familiar family father fault favourite fear february fed feel feet fell fifteen
fifth fifty fight figure fill final finally fine finger finish fire fit five fix fled flew floor folded follow food
foot forgave forget forgot forgotten form forty forward fought four fourteen fourth free fresh friday friend front
frozen full fun funny future game garden general gentle girl glad glass gold gone grand grandfather grandmother green
grew grey ground group grow grown guess guest hair half hall hand handed hang happy hardly hat hate head hear heard
heart heavy held help hid hidden hide high history hit hold hole holiday home honest hope hot hour house huge hundred
hung hungry hurt husband idea imagine immediately important inch include inside interest invite january job join joke
journey joy judge july june kid kitchen knee knock lady laid lain land large late laugh lay lead leant leapt learn
learnt leave leg lend length lent lesson letter lie life lift light liked line list listen lit live lived local lock
longer loose lose lost loud love low luck lunch mail main man manage manager manner march mark married matter meal
measure meet meeting member memory men mention message metre middle midnight mile mind minute miss mistake mistook
moment monday money month mood morning mother mouth move moved mr mrs mum music name named narrow nature nearby nearly
neat needed neighbour neither nervous news nice night nine nineteen ninety ninth noise noon normal note noted notice
november number object obvious october offer office older open opened opinion order ordinary original outside
overheard owe owner page paid paint pair paper parent park party pass passed past patient pause pay pen perfect person
phone photo photograph pick picture piece place plain plan play played please pleased pocket point police polite poor
position possible post posted pound practice prepare present pretty price private prize problem promise proof proper
protect proud prove public pull push quarter question quick quickly quiet quietly rain raise ran rang reach read
reader ready real realise reason receive record red refuse regular relative remain remember remind remove rent repair
repeat replace replied reply report reporter rest result retired return rich ride ring rise risen road roll roof room
rose round row rule run running rush sad safe sale sang sat saturday save saved scene school seat second secret sell
send sense sent sentence separate september serious serve set settle seven seventeen seventh seventy shaken share
sharp shelf shirt shoe shone shook shop short shot shoulder shout show showed shown shut sick side sign signature
silence silent simple sing single sister sit six sixteen sixth sixty size skin sleep slept slip slow slowly small
smell smile snow soft sold son song sort sound space spare speak special spend spent spilt spoke spoken spot sprang
spread spring stage stair stand start state stay step stick stole stone stood stop stopped store story straight
strange stranger street strong struck stuck student study stuff stupid suggest suit summer sun sunday sung supply
support suppose sure surprise swam swear sweet swept switch swore system table talk tall taste taught teach teacher
team tear telephone ten tenth test thank thanks thick thin third thirteen thirty thousand threw throw thrown thursday
tie tight tiny tired title tone tool top torn total touch town track travel tree trick trip trouble true trust truth
tuesday twelfth twelve twenty twice type ugly uncle understand understood unusual upset usual usually value view
village visit visitor voice wait waited walk walked wall war warm warn wash waste watch water wave weak wear weather
wednesday week weekend weight welcome wet wheel white who'd who've wide wife wild win wind window winter wish woke
woken woman women won wonder wood wore worker world worn worry worse worst worth wound write writer written wrong
wrote yard yellow yesterday young
"""
EVERYDAY = frozenset(_EVERYDAY.split())
"""Words that any two stories may share by chance."""

_VAGUE = """
thing things something somebody someone anything anybody everybody everyone everything situation situations matter
matters problem problems way ways certain various different others other decision idea people person some several many
few kind kinds sort lot moment case point right good bad better best fine perfect possible important positive difficult
opinion opinions aspect aspects issue issues experience experiences perspective challenge challenges opportunity factor
"""
VAGUE = frozenset(_VAGUE.split())
"""Words a story about nothing is made of."""

_BEFORE_A_NOUN = "the a an my our their your every"
BEFORE_A_NOUN = frozenset(_BEFORE_A_NOUN.split())

_NEVER_AFTER_IT = """
the a an my our their your his of to in on at for from with by and or but is was were are be been has have he she they
it i we if when because than that who which do did does would could should not
"""
NEVER_AFTER_IT = frozenset(_NEVER_AFTER_IT.split())
"""Words that never stand straight after one of ``BEFORE_A_NOUN``."""

_TOPICS = """
animal: animal aquarium badger bark bear bee bird breed cage calf cat chick collar coop cow crow deer dog duck egg
  eggs ewe falcon farm farmer feather feed fish flock foal fox frog fur goat goose guinea gull hamster hare hawk
  hedgehog hen herd hive honey hoof horse kennel kitten lamb leash litter lizard magpie mice mouse nest owl parrot paw
  pig pigeon puppy rabbit ram rat rescue robin rooster saddle seagull sheep shelter shepherd snake sparrow squirrel
  stable swan tail tank toad tortoise turtle vet whiskers wolf wool wren
army: army barracks battle bomb captain colonel general gun medal navy regiment rifle sailor sergeant soldier soldiers
  trench uniform veteran war
build: architect beam bench blacksmith blueprint brick brush build carpenter cement concrete crane drill engineer
  forge foundation girder glue hammer ladder lathe mason mortar nail paint plank sandpaper scaffold scaffolding screw
  screwdriver spanner surveyor timber tool varnish wall weld welder wood workshop wrench
car: battery bay belt bicycle bike brake brakes breakdown bumper bus car caravan charging clamp clutch convoy crash
  cyclist dashboard diesel driver electric engine exhaust fuel garage gear gearbox haulage headlight highway indicator
  junction kerb lane licence lorries lorry mechanic mile mileage mirror mot motorbike motorist motorway park parked
  parking pedestrian petrol road roundabout scooter seat speeding ticket tow traffic trailer truck tyre van vehicle
  warden wheel windscreen
church: altar baptism bell bells bishop cathedral chapel choir christening church confirmation congregation hall imam
  monk mosque nun organ parish pew pilgrim prayer priest rabbi ringer ringers saint sermon service spire steeple
  synagogue temple tower vicar
clock: alarm chime clock dial gear hands hour minute pendulum repair spring tick ticking watch watchmaker
clothes: belt blouse boot boots button cardigan clothes coat collar costume cotton crochet cuff dress fabric fashion
  glove hat heels hem iron ironing jacket jumper knit knitting lace laces laundry leather linen loom needle pocket
  pullover scarf sew shirt shoe silk skirt sleeve sock suit sweater tailor thread tie trainers trousers uniform
  wardrobe washing wool yarn zip
colour: black blue brush color colour green orange paint painted painter purple red white yellow
computer: account algorithm api app attachment backup battery browser bug button cable cell charger chip click cloud
  code column computer console crash cursor data database deploy developer disk download email encryption engineer
  feature file folder formula gaming hacker hardware inbox laptop latency link log login macro malware menu mouse
  network online outage password patch phone player printer program programmer query reboot release rollback router
  row scanner screen script sensor server software spreadsheet system tab table tablet test update upload username
  virus website wifi window
death: ashes burial buried cemetery coffin cremation dead death died dying estate executor funeral grave gravestone
  headstone hearse heir inherit late legacy mourner mourning obituary undertaker urn widow wreath
factory: assembly boiler conveyor engine factory foreman foundry gauge line machine machinery mill pressure pump shift
  steam strike turbine union valve whistle worker workers
family: adopt adopted adoption anniversary aunt baby birth birthday born boyfriend bride bridesmaid brother child
  children christmas cousin custody daughter divorce divorced engaged engagement ex family father fiance fiancee
  funeral girlfriend grandfather grandmother groom honeymoon husband in-laws marriage married mother nephew niece
  nursery orphan parent parents partner pregnancy pregnant sibling sister son stepfather stepmother stepson toddler
  twin twins uncle wedding wife
farm: acre barn cattle dairy farm farmer farmhouse field harvest hay meadow milking orchard pasture plough silo straw
  tractor
fire: alarm ash ashes burn burned burnt candle extinguisher fire firefighter firefighters flame flames hydrant ladder
  match rescue smoke
food: allergic allergy appetite apple bacon bake baker baking bbq beer biscuit boil bottle bowl bread breakfast buffet
  burger butter cafe cake canteen casserole cheese chef chicken chocolate coffee cook cooking cream curry cutlery
  dessert diner dinner dish dishes dough egg fish flour food fork freezer fridge fruit fry garlic grill ham honey
  hungry icing ingredient jam jar kettle kitchen knife lasagne lemon lid loaf lunch marmalade meal meat menu milk mug
  mustard napkin noodle nut onion orange oven pan pasta pastry peanut peel pepper pickle pie pizza plate portion pot
  potato pub pudding recipe restaurant rice roast salmon salt sandwich sauce sausage simmer slice snack soup spice
  spoon steak stew sugar taste tea tip tomato turkey vegan vegetarian waiter waitress wine yoghurt
games: arcade board bridge campaign card cards character chess console controller crossword dice dungeon game games
  jigsaw knight level pawn player players poker puzzle quiz rook trivia
garden: acorn allotment apple bean bed berry birch blackberry border bramble branch bulb cabbage carrot cherry compost
  courgette crop daffodil fence field flower fork fruit garden gardener gate grass greenfly greenhouse grow harvest
  hedge hose ivy lawn lawnmower leaf leaves lily maple marrow mower oak orchard patio pear pest pine plant plum pond
  pot prune pumpkin rake root rose seed shed shrub slug snail soil spade sprout strawberry tomato tree trowel tulip
  turf vegetable watering weed wheelbarrow willow
hair: barber beard comb hair haircut hairdresser moustache salon scissors shampoo wig
health: allergy ambulance appointment bandage blood bone cancer chemotherapy clinic consultant cough crutch dentist
  diabetes diagnosis dialysis doctor dose fever flu health heart hospital illness injury insulin kidney lung
  medication medicine nurse operation pain paramedic patient pharmacist pharmacy physician pill plaster prescription
  scan scar specialist stitches stretcher stroke surgery symptom tablet therapy treatment vet ward wheelchair wound
  x-ray
hotel: booking check-in concierge corridor elevator guest hostel hotel lift lobby motel porter reservation suite
house: apartment attic balcony basement bathroom bedroom blanket block boiler builder building carpet ceiling cellar
  chimney circuit cistern cupboard curtain damp decorator deposit dishwasher door doorbell downstairs drain drawer
  electrician electricity estate eviction faucet flat flatmate floor furniture fuse grout gutter hallway heating house
  insulation key kitchen lamp landlord leak lease lock lodger mattress meter mould mover paint pillow pipe plaster
  plug plumber radiator realtor renovation rent residents roof roommate sewage shelf shower shutter sink socket sofa
  squatter stairs stairwell stove tank tap tenant thermostat threshold tile tiles toilet upstairs vacuum valve viewing
  wall wallpaper wardrobe water window windows wire
insects: ant ants bee beekeeper bees beetle butterfly cricket flies fly hive honey insects larva mosquito moth spider
  swarm wasp web
internet: blog comment commenter commenters comments facebook forum internet online post posted poster reddit replies
  reply thread tweet update upvote user users website
language: accent alphabet dialect dictionary fluent grammar interpreter language phrase spelling translate translation
  translator
law: alibi appeal arrest arrested burglar bylaw claim clause complaint compliance constable council councillor court
  crime deed defendant detective enforcement evidence fraud hearing inspector jail judge jury law lawsuit lawyer lease
  legal licence magistrate mayor notice officer ordinance permission permit petition planning police prison prosecutor
  regulation rule sentence sergeant signature solicitor statement statute stolen sue theft thief verdict vote witness
  zoning
letter: address box courier delivery depot envelope letter mail package parcel post postcard postman stamp
library: article author biography book bookcase bookshop borrow chapter column columnist comic diary editor headline
  journal journalist librarian library magazine manuscript memoir newspaper novel page paperback poem poet poetry
  press print printed publish published publisher reader reporter shelf title
money: account accountant afford auction audit bank bargain bill bonus budget cash change charge charity cheque claim
  coin cost coupon debt deposit discount dividend dollar donation euro fee fine fund grant inheritance insurance
  insurer interest investor invoice ledger loan loss money mortgage note overdraft owe owed paid pay pension pound
  price profit purse rate receipt refund rent repay salary savings share sold stock tax thousand tip tips voucher wage
  wages wallet worth
museum: antique antiques archaeologist archive archivist artist auction auctioneer canvas carving catalogue coin
  collection collector curator dig easel excavation exhibition frame fresco gallery medal mural museum painting
  pigment portrait pottery relic restoration restorer ruin sculpture sketch statue vase
music: accordion album amplifier band bass bell cello choir chord chorus clarinet concert conductor drum drummer flute
  gig guitar harp hymn key lyrics melody microphone music note opera orchestra organ organist percussion piano play
  record recording rehearsal saxophone scale sheet singer song soprano speaker stage studio symphony tenor trumpet
  tune tuned tuner tuning vinyl violin
neighbours: complaint driveway fence hedge landlord neighbor neighbors neighbour neighbours noise party street
office: accountant agenda appraisal assistant badge boss cabinet candidate canteen chair chart clerk client colleague
  company contract coworker cubicle deadline deck department desk director duties email employee employer file fired
  folder fridge hire holiday hours hr intern interview invoice job junior kettle keyboard leave lunch manager meeting
  memo minutes mug office overtime password payroll presentation printer project promotion quarter receptionist report
  resign review role roster rota salary screen secretary senior shift sick slack slides spreadsheet staff stapler
  supervisor target team uniform zoom
phone: app battery charger contact contacts dial dialled handset landline message mobile number phone ring ringtone
  signal telephone telephoned text texted texting voicemail
photo: album camera darkroom exposure film filter flash footage lens negative photo photograph photographer picture
  portrait print screenshot selfie snapshot tripod video
politics: ballot budget campaign candidate chairman committee council councillor elected election government mayor
  minister motion parliament party politics referendum senator vote voter voters
post: box cargo container courier crate deliver delivered delivery depot driver mailbox mailman pallet post postcode
  postmark recipient sender shipment shipping sorting van warehouse
radio: aerial antenna broadcast broadcaster channel episode frequency listener listeners microphone presenter
  programme radio series signal station television transmitter tv
river: bank barge bridge canal dam ferry flood ford lake lock pond river stream swim swimmer swimming towpath weir
school: algebra blackboard bully bullying chalk class classroom college degree detention dictionary dormitory essay
  exam grade graduation headmaster headteacher homework kindergarten lecture lesson mark maths nursery parent physics
  playground poster principal professor project pupil recess scholarship school semester spelling student taught teach
  teacher term test thesis tutor university
science: astronomer astronomy bacteria biologist cell chemist chemistry climate comet data earthquake ecology enzyme
  experiment fossil geologist hypothesis instrument journal lab laboratory measurement meteorite microscope mineral
  moon orbit paper physicist physics planet professor research researcher rock rocket sample satellite science species
  specimen star telescope university volcano
sea: anchor beach boat buoy canoe captain cliff coast crab crew deck dock dolphin dune estuary ferry fisherman fishing
  harbour hull island kayak keel lifeboat lighthouse lobster mast mooring mussel navy net oar oyster paddle pebble
  pier port quay rescue rope rudder sail sailor sea seal seaside seaweed shark ship shore storm submarine tide trawler
  wave whale
shop: aisle bakery barcode bargain basket boutique brand butcher buyer cashier checkout counter customer discount
  florist greengrocer label mannequin market queue receipt refund retail sale seller shelf shop shopkeeper shopper
  stall stock store supermarket till trolley warehouse window
sleep: asleep awake bed blanket dream insomnia mattress nap night nightmare pillow sleep snore snoring
sport: badminton ball basketball bowls boxing champion championship chess climb climbing club coach cricket cycling
  cyclist darts final finish football goal goalkeeper golf gym hockey hole hoop jog jogging lap league marathon match
  medal penalty pitch player race racket referee rugby runner score season skate skating ski skiing snooker sport
  sprint stadium striker swim tackle team tennis tournament training treadmill trophy umpire volleyball weights win
theatre: actor actress applause audience ballet cast casting cinema circus clown comedy costume curtain dance dancer
  dancing director film magician movie play playwright prompter props puppet rehearsal rehearse scene script spotlight
  stage theatre tragedy understudy
train: barrier bus carriage commuter conductor delay fare guard inspector line locomotive luggage metro passenger
  platform rail railway seat signal station stop subway ticket timetable track train tram tube turnstile underground
travel: abroad airport backpack boarding border camp camping campsite compass customs desert embassy flight gate guest
  hike hiking holiday hostel hotel jungle luggage map mountain passport peak pilot plane reception room runway
  souvenir suitcase summit tent terminal tour tourist trail travel valley visa
village: bonfire carnival community council fair festival fete green hamlet inhabitants inn landlord lantern lanterns
  market mayor neighbour parade parish pub residents square street town townsfolk village
weather: blizzard breeze cloud cold degrees downpour drizzle drought flood fog forecast frost gale hail heat heatwave
  hurricane ice icy lightning mist puddle rain sleet snow snowfall storm sun sunshine temperature thaw thunder tornado
  umbrella weather wind
wedding: bouquet bride bridesmaid groom guest marquee reception registrar ring speech toast usher veil vows wedding
"""

_CUES = """
he: he him his himself
she: she her hers herself
they: they them their theirs themselves
it: it its itself it's
i: i me my mine myself i'm i'd i've i'll we us our ours we'd we're
you: you your yours you're
this: this that these those such
contrast: but however yet though although instead nevertheless
result: so therefore because then thus
also: also too another other both either neither same again even only else
now: now today still since nowadays currently
late: finally eventually afterwards
next: next later following meanwhile afterwards soon
indef: a an
the: the
neg: not never no nobody nothing none didn't don't doesn't wasn't weren't couldn't wouldn't can't isn't hadn't won't
had: had hadn't
has: has have hasn't haven't
past: was were did went came took got found left gave thought knew saw put made
pres: is are does says asks wants
say: said says asked told wrote replied added explained admitted answered
who: who which whose called named aged
when: when after before once until while
first: first begin began started beginning
ordinal: second third last fourth final
one: one two three four five six
time: morning evening night afternoon monday tuesday wednesday thursday friday saturday sunday january february march
  april may june july august september october november december week month day year years weeks months days o'clock
  noon midnight spring summer autumn winter
there: there here
will: will would could should might
man: mr man boy gentleman father brother son husband uncle grandfather dad
woman: mrs ms miss woman girl lady mother sister daughter wife aunt grandmother mum mom
kin: mother father brother sister daughter son wife husband uncle aunt grandmother grandfather cousin mum dad
what: what why how where
"""


def _classes(table: str) -> Mapping[str, tuple[str, ...]]:
    """Each word of a table of ``class: words`` with the classes it is in."""
    found: dict[str, list[str]] = {}
    for line in re.split(r"\n(?! )", table.strip()):
        name, members = line.split(":")
        for word in members.split():
            found.setdefault(word, []).append(name)
    return {word: tuple(dict.fromkeys(names)) for word, names in found.items()}


TOPICS = _classes(_TOPICS)
"""The topics a word is at home in."""

CUES = _classes(_CUES)
"""What a word tells of its sentence's place among others: whom it points to, and what it follows or opens."""
